"""branch, set, parallel, foreach, workflow: the engine itself decides how a run goes on."""

from collections.abc import Callable
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from chassis.schemas import JsonObject, Text

from ..definition.expressions import ExpressionError, Scope, evaluate
from ..definition.model import StepDefinition
from ..definition.value_schemas import OPEN, Schema, build_object
from . import protocol
from .protocol import (
    ControlStep,
    Done,
    FanOut,
    NonRetryableError,
    OutputContext,
    StartSubworkflow,
    StepContext,
    StepOutput,
)

MAX_ITEMS = 1000


class BranchOutput(StepOutput):
    next: str | None


class SubworkflowOutput(StepOutput):
    workflow_id: UUID
    output: JsonValue


@protocol.register("branch")
class Branch(ControlStep):
    """Goes to the first of its `choices` that is true, else to `otherwise`. Takes no input."""

    output_model: ClassVar[type[StepOutput]] = BranchOutput

    def decide(self, context: StepContext, get_scope: Callable[[], Scope]) -> Done:
        for choice in context.step_definition.choices:
            try:
                is_true = evaluate(choice.when, get_scope())
            except ExpressionError as error:
                raise NonRetryableError(str(error)) from error
            if not isinstance(is_true, bool):
                raise NonRetryableError(f"{choice.when} is neither true nor false")
            if is_true:
                return Done({"next": choice.next})
        return Done({"next": context.step_definition.otherwise})


@protocol.register("set")
class Set(ControlStep):
    """Computes values for later steps, which see them as its output."""

    values: JsonObject

    @classmethod
    def describe_output(cls, step: StepDefinition, context: OutputContext) -> Schema:
        return context.infer(step.inputs.get("values"))

    def decide(self, context: StepContext, get_scope: Callable[[], Scope]) -> Done:
        return Done(self.values)


@protocol.register("parallel")
class Parallel(ControlStep):
    """Runs its `branches` side by side. Its output is that of each one's last step."""

    branches_field: ClassVar[Literal["branches"]] = "branches"

    @classmethod
    def describe_output(cls, step: StepDefinition, context: OutputContext) -> Schema:
        branches = step.branches.items()
        return build_object(
            {name: context.describe_branch_output(first) for name, first in branches}
        )

    def decide(self, context: StepContext, get_scope: Callable[[], Scope]) -> FanOut:
        branches = context.step_definition.branches
        starts = [protocol.BranchStart(*branch) for branch in branches.items()]
        return FanOut(starts, max_parallel=len(starts))


@protocol.register("foreach")
class ForEach(ControlStep):
    """Runs the steps from `do` on for each item, which they see as `item`, with its `index`."""

    branches_field: ClassVar[Literal["do"]] = "do"

    items: list[JsonValue] = Field(max_length=MAX_ITEMS)
    limit: int = Field(default=10, ge=1, le=100, description="Items that run at the same time.")

    @classmethod
    def describe_output(cls, step: StepDefinition, context: OutputContext) -> Schema:
        last = context.describe_branch_output(step.do) if step.do else OPEN
        return build_object({"items": {"type": "array", "items": last}})

    def decide(self, context: StepContext, get_scope: Callable[[], Scope]) -> FanOut:
        first = str(context.step_definition.do)
        iterations = [
            protocol.BranchStart(str(index), first, {"item": item, "index": index})
            for index, item in enumerate(self.items)
        ]
        return FanOut(iterations, max_parallel=self.limit)


@protocol.register("workflow")
class Subworkflow(ControlStep):
    """Starts a run of another definition, with the same rights, and waits for its output."""

    output_model: ClassVar[type[StepOutput]] = SubworkflowOutput
    starts_runs: ClassVar[bool] = True

    definition: Text = Field(max_length=100)
    input: JsonObject = Field(default={})

    def decide(self, context: StepContext, get_scope: Callable[[], Scope]) -> StartSubworkflow:
        return StartSubworkflow(self.definition, self.input)
