"""approval: people decide, and the run waits for them as long as it takes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import Field, model_validator

from chassis.clock import now
from chassis.schemas import JsonObject, RequestModel, Text

from ..contracts import READ_VERSION
from ..definition.model import RoleName, Seconds
from . import protocol
from .protocol import (
    Done,
    Pending,
    RequestApproval,
    StepAttempt,
    StepMemory,
    StepOutput,
    StepResult,
    StepType,
)

# The document is checked after the first interval, then ever more rarely, and at each decision.
FIRST_CHECK_SECONDS = 300.0
MAX_CHECK_SECONDS = 3600.0


class Message(RequestModel):
    """Names the template that invites the assignees; it is given `task_id` as well."""

    template: Text
    variables: JsonObject = Field(default={})


class Vote(StepOutput):
    decision: str
    comment: str
    decided_by: str


class ApprovalOutput(StepOutput):
    decision: str
    comment: str
    decided_by: str | None
    votes: list[Vote] = Field(default=[])  # missing when the time to decide is over


class ApprovalMemory(StepMemory):
    """Remembers the document that was seen, how often it was checked, and the escalation."""

    seen: dict[str, Any] = Field(default={})
    checks: int = 0
    escalated: bool = False


@protocol.register("approval")
class Approval(StepType):
    """Asks a user, several users of whom `needed` must approve, or all users who have a role.

    With `document_id`, the decision is bound to the document as it is now: when it changes, the
    approval is void and the step fails. With `version`, the document must not have changed since
    that version. After `deadline` seconds the escalation gets tasks without a deadline; when no
    escalation is given, the decision is `expired`.
    """

    output_model: ClassVar[type[StepOutput]] = ApprovalOutput
    at_least_one_of: ClassVar[tuple[str, ...]] = ("assignee_id", "assignees", "role")
    required_permission: ClassVar[str] = "workflows:start"

    assignee_id: UUID | None = None
    assignees: list[UUID] = Field(default=[], max_length=50)
    role: RoleName | None = None
    needed: int = Field(default=1, ge=1, le=50)
    by_starter: bool = Field(default=False, description="Whether the starter may decide as well.")
    title: Text = Field(min_length=1, max_length=500)
    subject: JsonObject = Field(default={})
    tell: Message | None = None
    document_id: UUID | None = None
    version: int | None = None
    deadline: Seconds | None = None
    escalate_to: UUID | None = None
    escalate_role: RoleName | None = None

    @model_validator(mode="after")
    def check_assignees(self) -> Self:
        people = {*self.assignees, *([self.assignee_id] if self.assignee_id else [])}
        if bool(people) == bool(self.role):
            raise ValueError("give either a role, or assignee_id or assignees")
        if people and self.needed > len(people):
            raise ValueError(f"{self.needed} approvals are needed, but only {len(people)} asked")
        return self

    def perform(self, attempt: StepAttempt) -> StepResult:
        self.check_enough_voters(attempt.run.started_by)
        memory = ApprovalMemory.load(attempt.step)
        seen = self.read_document(attempt, memory)
        is_escalated = memory is not None and memory.escalated
        if self.deadline and not is_escalated and self.has_passed(attempt, self.deadline):
            if not (self.escalate_to or self.escalate_role):
                return Done({"decision": "expired", "comment": "", "decided_by": None})
            if memory:
                escalated = ApprovalMemory(seen=seen, escalated=True)
                return self.request_approval(attempt, self.get_escalation_assignees(), escalated)
        if memory is None:
            first = ApprovalMemory(seen=seen)
            return self.request_approval(attempt, self.get_first_assignees(), first)
        memory = memory.model_copy(update={"checks": memory.checks + 1})
        return Pending(self.get_next_check(attempt, memory), memory, is_long_wait=True)

    def check_enough_voters(self, starter_id: str) -> None:
        """Raise NonRetryableError when the others could not reach the number needed.

        A starter who is the only assignee gets a task that says why they may not decide.
        """
        others = [each for each in self.get_first_assignees() if each.user_id != starter_id]
        is_next = str(self.escalate_to) == starter_id
        if not self.by_starter and (is_next or 0 < len(others) < self.needed):
            raise protocol.NonRetryableError(
                "It needs the starter of the run, who may not decide on it: set by_starter,"
                " or ask more people"
            )

    def request_approval(
        self, attempt: StepAttempt, assignees: Sequence[protocol.Assignee], memory: ApprovalMemory
    ) -> RequestApproval:
        return RequestApproval(
            assignees, self.title, self.subject, memory.seen, memory=memory,
            needed=1 if memory.escalated else self.needed, at=self.get_next_check(attempt, memory),
            not_by=None if self.by_starter else attempt.run.started_by,
            message=self.tell.model_dump() if self.tell else {},
        )  # fmt: skip

    def get_first_assignees(self) -> list[protocol.Assignee]:
        if self.role:
            return [protocol.Assignee(role=self.role)] * self.needed
        people = [*([self.assignee_id] if self.assignee_id else []), *self.assignees]
        return [protocol.Assignee(str(user_id)) for user_id in dict.fromkeys(people)]

    def get_escalation_assignees(self) -> list[protocol.Assignee]:
        if self.escalate_to:
            return [protocol.Assignee(user_id=str(self.escalate_to))]
        return [protocol.Assignee(role=self.escalate_role)]

    def read_document(self, attempt: StepAttempt, memory: ApprovalMemory | None) -> dict[str, Any]:
        """Read what the decision is bound to; raises NonRetryableError when it has changed."""
        if self.document_id is None:
            return {}
        document = attempt.call_service(READ_VERSION, path={"document_id": self.document_id})
        seen = memory.seen if memory else {}
        expected = seen.get("version", self.version)
        if expected not in (None, document["version"]):
            raise protocol.NonRetryableError(
                f"The document is at version {document['version']} now, and not at {expected}:"
                " what was to be decided has changed"
            )
        return {"document_id": str(self.document_id), **document}

    def has_passed(self, attempt: StepAttempt, seconds: float) -> bool:
        # run_at was compared with the database's clock when the step became due.
        return attempt.step.run_at >= self.get_deadline(attempt, seconds)

    def get_deadline(self, attempt: StepAttempt, seconds: float) -> datetime:
        return attempt.step.created_at + timedelta(seconds=seconds)

    def get_next_check(self, attempt: StepAttempt, memory: ApprovalMemory) -> datetime | None:
        """Return the deadline or the next check of the document, whichever comes first."""
        times = []
        if self.deadline and not memory.escalated:
            times.append(self.get_deadline(attempt, self.deadline))
        if self.document_id:
            pause = min(MAX_CHECK_SECONDS, FIRST_CHECK_SECONDS * 2.0 ** min(memory.checks, 20))
            times.append(now() + timedelta(seconds=pause))
        return min(times, default=None)
