"""branch, set, parallel, foreach, workflow: where a run goes on, decided by the engine itself."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from chassis.schemas import JsonObject, Text

from ..definition.expressions import ExpressionError, Scope, evaluate
from .protocol import ControlStep, Done, FanOut, NonRetryableError, StartSubworkflow, StepContext

MAX_ITEMS = 1000


class Branch(ControlStep):
    """Goes to the first of its `choices` that is true, else to `otherwise`. Takes nothing."""

    def decide(self, context: StepContext, sees: Callable[[], Scope]) -> Done:
        for choice in context.defined.choices:
            try:
                is_so = evaluate(choice.when, sees())
            except ExpressionError as error:
                raise NonRetryableError(str(error)) from error
            if not isinstance(is_so, bool):
                raise NonRetryableError(f"{choice.when} is neither true nor false")
            if is_so:
                return Done({"next": choice.next})
        return Done({"next": context.defined.otherwise})


class Set(ControlStep):
    """Works out values for later steps, which see them as its output."""

    values: JsonObject

    def decide(self, context: StepContext, sees: Callable[[], Scope]) -> Done:
        return Done(self.values)


class Parallel(ControlStep):
    """Runs its `branches` side by side. Takes nothing; gives the output of each one's last step."""

    branches_field: ClassVar[Literal["branches"]] = "branches"

    def decide(self, context: StepContext, sees: Callable[[], Scope]) -> FanOut:
        lanes = [(name, first, None) for name, first in context.defined.branches.items()]
        return FanOut(lanes, max_parallel=len(lanes))


class ForEach(ControlStep):
    """Does the steps from `do` on for each item, which they see as `item`, with its `index`."""

    branches_field: ClassVar[Literal["do"]] = "do"

    items: list[JsonValue] = Field(max_length=MAX_ITEMS)
    limit: int = Field(default=10, ge=1, le=100, description="So many at once.")

    def decide(self, context: StepContext, sees: Callable[[], Scope]) -> FanOut:
        first = str(context.defined.do)
        each: list[tuple[str, str, Any]] = [
            (str(index), first, {"item": item, "index": index})
            for index, item in enumerate(self.items)
        ]
        return FanOut(each, max_parallel=self.limit)


class Subworkflow(ControlStep):
    """Starts a run of another definition, with the same rights, and waits for its output."""

    definition: Text = Field(max_length=100)
    input: JsonObject = Field(default={})

    def decide(self, context: StepContext, sees: Callable[[], Scope]) -> StartSubworkflow:
        return StartSubworkflow(self.definition, self.input)
