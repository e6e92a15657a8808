"""branch, set, parallel, foreach, workflow: where a run goes on, decided by the engine itself."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field, JsonValue

from chassis.schemas import JsonObject, Text

from ..definition.expressions import ExpressionError, Scope, evaluate
from .protocol import Control, Done, Here, Launch, Spread, Terminal

MOST_ITEMS = 1000


class Branch(Control):
    """Goes to the first of its `choices` that is true, else to `otherwise`. Takes nothing."""

    def decide(self, here: Here, sees: Callable[[], Scope]) -> Done:
        for choice in here.defined.choices:
            try:
                is_so = evaluate(choice.when, sees())
            except ExpressionError as error:
                raise Terminal(str(error)) from error
            if not isinstance(is_so, bool):
                raise Terminal(f"{choice.when} is neither true nor false")
            if is_so:
                return Done({"next": choice.next})
        return Done({"next": here.defined.otherwise})


class Set(Control):
    """Works out values for later steps, which see them as its output."""

    values: JsonObject

    def decide(self, here: Here, sees: Callable[[], Scope]) -> Done:
        return Done(self.values)


class Parallel(Control):
    """Runs its `branches` side by side. Takes nothing; gives the output of each one's last step."""

    lanes: ClassVar[Literal["branches"]] = "branches"

    def decide(self, here: Here, sees: Callable[[], Scope]) -> Spread:
        lanes = [(name, first, None) for name, first in here.defined.branches.items()]
        return Spread(lanes, at_once=len(lanes))


class ForEach(Control):
    """Does the steps from `do` on for each item, which they see as `item`, with its `index`."""

    lanes: ClassVar[Literal["do"]] = "do"

    items: list[JsonValue] = Field(max_length=MOST_ITEMS)
    limit: int = Field(default=10, ge=1, le=100, description="So many at once.")

    def decide(self, here: Here, sees: Callable[[], Scope]) -> Spread:
        first = str(here.defined.do)
        each: list[tuple[str, str, Any]] = [
            (str(index), first, {"item": item, "index": index})
            for index, item in enumerate(self.items)
        ]
        return Spread(each, at_once=self.limit)


class Subworkflow(Control):
    """Starts a run of another definition, with the same rights, and waits for its output."""

    definition: Text = Field(max_length=100)
    input: JsonObject = Field(default={})

    def decide(self, here: Here, sees: Callable[[], Scope]) -> Launch:
        return Launch(self.definition, self.input)
