"""What a step kind is, what it is given and what it may answer."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from chassis.errors import Forbidden, ServiceError, Unprocessable
from chassis.service_client import ServiceClient

from ..ai.usage import UsageLog
from ..definition.expressions import Scope
from ..definition.model import StepDefinition, Strict
from ..models import Run, Step
from ..neighbours import Neighbours


@dataclass(frozen=True)
class StepContext:
    """Where in a run we are."""

    run: Run
    step: Step
    defined: StepDefinition


@dataclass(frozen=True)
class StepAttempt(StepContext):
    """One attempt at a step. `usage` collects its calls to models, kept in any case."""

    neighbours: Neighbours
    usage: UsageLog = field(default_factory=UsageLog)

    def call_service(
        self,
        neighbour: ServiceClient,
        method: str,
        path: str,
        *args: Any,
        key: str = "",
        **more: Any,
    ) -> Any:
        """Calls a neighbour, at a path below /api/v1, with the rights the run's starter has now.

        The call carries the step's key, the same at each attempt: what it does, it does once.
        """
        more["on_behalf_of"] = self.run.started_by
        more["headers"] = {"Idempotency-Key": key or str(self.step.key)}
        return neighbour.call_from_thread(method, f"/api/v1/{path}", *args, **more)

    def require_permission(self, permission: str) -> None:
        """Raises Forbidden when whoever started the run is not active, or may not do this now."""
        who = {"on_behalf_of": self.run.started_by}
        starter = self.neighbours.identity.call_from_thread("POST", "/api/v1/auth/validate", **who)
        if not {permission, "*"} & {*starter["permissions"]}:
            raise Forbidden(f"Who started the run has not the permission {permission} now")


@dataclass(frozen=True)
class Done:
    """The step is finished."""

    output: dict[str, Any]


@dataclass(frozen=True)
class Pending:
    """Not finished yet: call again then, or when others move it. Meanwhile no worker is busy.

    `memory` is what the step will find in `step.memory` the next time. `waits`: what it waits for
    is not a moment that comes by itself and soon; a long pause is that anyway.
    """

    at: datetime | None
    memory: dict[str, Any] = field(default_factory=dict)
    is_long_wait: bool = False


@dataclass(frozen=True)
class Assignee:
    """Who may decide: a person, or anybody with a role."""

    user_id: str | None = None
    role: str | None = None


@dataclass(frozen=True)
class RequestApproval:
    """The step waits for people to decide. Tasks that it has open already are replaced by these.

    `seen` is what the decision is bound to beside the subject. `purpose` budget: approval lets the
    step go on, and is not its output. `at` is when to call again although nobody has decided.
    """

    assignees: Sequence[Assignee]
    title: str
    subject: dict[str, Any]
    seen: dict[str, Any] = field(default_factory=dict)
    needed: int = 1
    not_by: str | None = None
    purpose: Literal["approval", "budget"] = "approval"
    message: dict[str, Any] = field(default_factory=dict)
    at: datetime | None = None
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FanOut:
    """The step is done when its lanes have joined. Each lane: its name, first step and item."""

    branches: Sequence[tuple[str, str, Any]]
    max_parallel: int


@dataclass(frozen=True)
class StartSubworkflow:
    """The step is done when the run that it starts is."""

    definition: str
    input: dict[str, Any]


class NonRetryableError(Unprocessable):
    """No further attempt would help: the step fails, with this reason."""


StepResult = Done | Pending | RequestApproval | FanOut | StartSubworkflow
Outcome = StepResult | ServiceError


class StepInput(Strict):
    """What a kind takes are its fields, under `with` in a definition."""

    exactly_one_of: ClassVar[tuple[str, ...]] = ()
    """Fields of which it needs exactly one."""
    at_least_one_of: ClassVar[tuple[str, ...]] = ()
    """Fields of which it needs one or more; which, it says itself."""

    @model_validator(mode="after")
    def check_exactly_one(self) -> Self:
        if (
            self.exactly_one_of
            and sum(getattr(self, name) is not None for name in self.exactly_one_of) != 1
        ):
            raise ValueError(f"give either {' or '.join(self.exactly_one_of)}")
        return self


class StepType(StepInput):
    """A step kind that calls somebody, or takes its time."""

    uses_models: ClassVar[bool] = False
    """It costs money, and so is asked for when a run has spent its budget."""
    required_permission: ClassVar[str] = ""
    """What its starter must be allowed, where no neighbour is asked with their rights and says."""

    @abstractmethod
    def perform(self, attempt: StepAttempt) -> StepResult:
        """Makes one attempt. Raises NonRetryableError, or the error of a neighbour."""


class ControlStep(StepInput):
    """A kind that asks nobody: it is done in the transaction that makes it ready."""

    branches_field: ClassVar[Literal["", "branches", "do"]] = ""
    """The field that a step of this kind must have, when other steps run inside it."""

    @abstractmethod
    def decide(self, context: StepContext, sees: Callable[[], Scope]) -> StepResult:
        """What is to happen; the same for the same input. Raises NonRetryableError."""
