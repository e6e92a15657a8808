"""What a step type is, what it is given and what it may answer.

Open it before you write a step type: subclass StepType or ControlStep, and register it.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from chassis.contracts import VALIDATE_TOKEN, Answer, Body, NeighbourCall
from chassis.errors import Forbidden, ServiceError, Unprocessable
from chassis.schemas import RequestModel

from ..ai.usage import UsageLog
from ..definition.expressions import Scope
from ..definition.model import StepDefinition
from ..definition.value_schemas import OPEN, Schema, inline_references
from ..models import Run, Step
from ..neighbours import Neighbours


class StepMemory(BaseModel):
    """Base of what a step type remembers from one attempt to the next, in `step.memory`."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def load(cls, step: Step) -> Self | None:
        """Return what the step remembers, or None at its first attempt."""
        return cls.model_validate(step.memory) if step.memory else None


@dataclass(frozen=True)
class StepContext:
    """Holds the step that is to be done, its run, and what the definition says of the step."""

    run: Run
    step: Step
    step_definition: StepDefinition


@dataclass(frozen=True)
class StepAttempt(StepContext):
    """Represents one attempt; `usage` collects its calls to models, which are always stored."""

    neighbours: Neighbours
    usage: UsageLog = field(default_factory=UsageLog)

    def call_service(
        self,
        call: NeighbourCall[Body, Answer],
        body: Body | None = None,
        *,
        path: Mapping[str, object] | None = None,
        key: str = "",
        params: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Call a neighbour with the rights that the starter of the run has now.

        The step's idempotency key is the same at each attempt, so that the effect happens once.
        """
        return call.make_from_thread(
            self.neighbours.get_client(call.provider),
            body,
            path=path,
            params=params,
            headers={"Idempotency-Key": key or str(self.step.key)},
            on_behalf_of=self.run.started_by,
        )

    def require_permission(self, permission: str) -> None:
        """Raise Forbidden when the starter of the run lacks the permission now, or is inactive."""
        identity = self.neighbours.identity
        starter = VALIDATE_TOKEN.make_from_thread(identity, on_behalf_of=self.run.started_by)
        if not starter.has_permission(permission):
            lacks = f"does not have the permission {permission} any more"
            raise Forbidden(f"The starter of the run {lacks}")


@dataclass(frozen=True)
class Done:
    """Says that the step is finished."""

    output: dict[str, Any]


@dataclass(frozen=True)
class Pending:
    """Says that the step is due again at `at`, or when something wakes it; no worker is busy."""

    at: datetime | None
    memory: StepMemory | None = None
    is_long_wait: bool = False  # shown as waiting however soon `at` is


@dataclass(frozen=True)
class Assignee:
    """Names who may decide: a user, or every user with a role."""

    user_id: str | None = None
    role: str | None = None


@dataclass(frozen=True)
class RequestApproval:
    """Opens a task for each assignee; tasks that the step has open already are closed."""

    assignees: Sequence[Assignee]
    title: str
    subject: dict[str, Any]
    seen: dict[str, Any] = field(default_factory=dict)  # what the decision is also bound to
    needed: int = 1
    not_by: str | None = None
    purpose: Literal["approval", "budget"] = "approval"  # "budget": to go on, without an output
    message: dict[str, Any] = field(default_factory=dict)
    at: datetime | None = None  # when the step is due although no decision was made
    memory: StepMemory | None = None


class BranchStart(NamedTuple):
    """Names a branch of a parallel step, or an iteration of a foreach with its item."""

    name: str
    first_step: str
    item: dict[str, Any] | None = None


@dataclass(frozen=True)
class FanOut:
    """Runs branches side by side; the step is done when they have joined."""

    branches: Sequence[BranchStart]
    max_parallel: int


@dataclass(frozen=True)
class StartSubworkflow:
    """Starts a run of another definition; the step is done when that run is."""

    definition: str
    input: dict[str, Any]


class NonRetryableError(Unprocessable):
    """Raised when no further attempt would help: the step fails, with this reason."""


StepResult = Done | Pending | RequestApproval | FanOut | StartSubworkflow
Outcome = StepResult | ServiceError


class StepOutput(BaseModel):
    """Declares as its fields what later steps may read of an output; some may be missing."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def get_schema(cls) -> Schema:
        schema = cls.model_json_schema()
        inlined: Schema = inline_references(schema, schema.get("$defs", {}))
        return inlined


class OutputContext(Protocol):
    """Tells what is known before a run."""

    def infer(self, value: Any) -> Schema:
        """Return what is known of an input, in which every string is an expression."""

    def describe_branch_output(self, first: str) -> Schema:
        """Return what is known of the output of a branch, by the name of its first step."""


class StepInput(RequestModel):
    """Declares as its fields what a step type takes under `with` in a definition."""

    output_model: ClassVar[type[StepOutput] | None] = None  # without one, nothing is checked

    exactly_one_of: ClassVar[tuple[str, ...]] = ()
    at_least_one_of: ClassVar[tuple[str, ...]] = ()  # the step type itself checks this

    @classmethod
    def describe_output(cls, step: StepDefinition, context: OutputContext) -> Schema:
        """Return what is known of the step's output when its definition is published."""
        return cls.output_model.get_schema() if cls.output_model else OPEN

    @model_validator(mode="after")
    def check_exactly_one(self) -> Self:
        given = [name for name in self.exactly_one_of if getattr(self, name) is not None]
        if self.exactly_one_of and len(given) != 1:
            raise ValueError(f"give either {' or '.join(self.exactly_one_of)}")
        return self


class StepType(StepInput):
    """Base of the step types that call a service, or take time: a worker performs them."""

    uses_models: ClassVar[bool] = False  # if so, a run that has spent its budget asks first
    required_permission: ClassVar[str] = ""  # of the starter, where no neighbour checks it

    @abstractmethod
    def perform(self, attempt: StepAttempt) -> StepResult:
        """Make one attempt. Raises NonRetryableError, or the error of a neighbour."""


class ControlStep(StepInput):
    """Base of the step types that call no service: they are done in the engine's transaction."""

    branches_field: ClassVar[Literal["", "branches", "do"]] = ""  # names the steps inside it
    starts_runs: ClassVar[bool] = False  # a run that ends when the step does

    @abstractmethod
    def decide(self, context: StepContext, get_scope: Callable[[], Scope]) -> StepResult:
        """Return the same result for the same input. Raises NonRetryableError."""


STEP_TYPES: dict[str, type[StepType] | type[ControlStep]] = {}  # by the `kind` in definitions

Registered = TypeVar("Registered", bound=type[StepType] | type[ControlStep])


def register(kind: str) -> Callable[[Registered], Registered]:
    """Make the class below the step type of this kind."""

    def add_to_table(step_type: Registered) -> Registered:
        STEP_TYPES[kind] = step_type
        return step_type

    return add_to_table


def parse_input(step: Step) -> StepType | ControlStep:
    """Return the step type with its input; raises NonRetryableError when the input does not fit."""
    try:
        return STEP_TYPES[step.kind].model_validate(step.input)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["with", *map(str, first["loc"])])
        raise NonRetryableError(f"{place}: {first['msg']}") from error
