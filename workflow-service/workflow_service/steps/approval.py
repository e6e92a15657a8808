"""approval: people decide, and the run waits for them as long as it takes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import Field, model_validator

from chassis.schemas import JsonObject, Text

from ..definition.model import RoleName, Seconds, Strict
from ..engine.statuses import now
from .protocol import (
    Assignee,
    Done,
    NonRetryableError,
    Pending,
    RequestApproval,
    StepAttempt,
    StepResult,
    StepType,
)

# Seconds after which the document is looked at again, then ever more rarely; in any case when
# somebody decides.
FIRST_CHECK_SECONDS = 300.0
MAX_CHECK_SECONDS = 3600.0


class Message(Strict):
    """How those who are asked are told; the template is given `task_id` as well."""

    template: Text
    variables: JsonObject = Field(default={})


class Approval(StepType):
    """Asks a person, several of whom `needed` must approve, or anybody who has a role.

    With `document_id`, the decision is bound to the document as it is now: when it changes, the
    approval is void, and the step has failed. With `version`, it must not have changed since that.
    After `deadline` seconds others are asked, who may take their time; without any, the decision is
    `expired`.
    """

    at_least_one_of: ClassVar[tuple[str, ...]] = ("assignee_id", "assignees", "role")
    required_permission: ClassVar[str] = "workflows:start"

    assignee_id: UUID | None = None
    assignees: list[UUID] = Field(default=[], max_length=50)
    role: RoleName | None = None
    needed: int = Field(default=1, ge=1, le=50)
    by_starter: bool = Field(default=False, description="Whether who started the run may decide.")
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
            raise ValueError(f"{self.needed} are needed, and only {len(people)} asked")
        return self

    def perform(self, attempt: StepAttempt) -> StepResult:
        self.check_enough_voters(attempt.run.started_by)
        seen, memory = self.read_document(attempt), attempt.step.memory
        if (
            self.deadline
            and not memory.get("escalated")
            and self.has_passed(attempt, self.deadline)
        ):
            if not (self.escalate_to or self.escalate_role):
                return Done({"decision": "expired", "comment": "", "decided_by": None})
            if memory:
                return self.request_approval(
                    attempt, seen, self.get_escalation_assignees(), escalated=True
                )
        if memory:
            checks = memory["checks"] + 1
            return Pending(
                self.get_next_check(attempt, checks),
                {**memory, "checks": checks},
                is_long_wait=True,
            )
        return self.request_approval(attempt, seen, self.get_first_assignees())

    def check_enough_voters(self, starter_id: str) -> None:
        """Raises NonRetryableError when the others could not reach the number needed."""
        others = [each for each in self.get_first_assignees() if each.user_id != starter_id]
        is_next = str(self.escalate_to) == starter_id
        if not self.by_starter and (is_next or 0 < len(others) < self.needed):
            raise NonRetryableError("It needs whoever started the run, who does not decide on it")

    def request_approval(
        self,
        attempt: StepAttempt,
        seen: dict[str, Any],
        asked: Sequence[Assignee],
        escalated: bool = False,
    ) -> RequestApproval:
        return RequestApproval(
            assignees=asked,
            title=self.title,
            subject=self.subject,
            seen=seen,
            needed=1 if escalated else self.needed,
            not_by=None if self.by_starter else attempt.run.started_by,
            message=self.tell.model_dump() if self.tell else {},
            at=self.get_next_check(attempt, 0, escalated),
            memory={"seen": seen, "checks": 0, "escalated": escalated},
        )

    def get_first_assignees(self) -> list[Assignee]:
        if self.role:
            return [Assignee(role=self.role)] * self.needed
        people = [*([self.assignee_id] if self.assignee_id else []), *self.assignees]
        return [Assignee(str(user_id)) for user_id in dict.fromkeys(people)]

    def get_escalation_assignees(self) -> list[Assignee]:
        person = str(self.escalate_to) if self.escalate_to else None
        return [Assignee(person, None if person else self.escalate_role)]

    def read_document(self, attempt: StepAttempt) -> dict[str, Any]:
        """Reads the document; raises NonRetryableError when it has changed."""
        if self.document_id is None:
            return {}
        document = attempt.call_service(
            attempt.neighbours.content, "GET", f"documents/{self.document_id}"
        )
        now_seen = {"document_id": str(self.document_id)}
        now_seen |= {field: document[field] for field in ("version", "sha256")}
        expected = attempt.step.memory.get("seen", {}).get("version", self.version)
        if expected not in (None, document["version"]):
            raise NonRetryableError(
                f"The document is at version {document['version']} by now, and not at {expected}:"
                " what was to be decided has changed"
            )
        return now_seen

    def has_passed(self, attempt: StepAttempt, seconds: float) -> bool:
        """By the database's clock, which let the step be due then."""
        return attempt.step.run_at >= self.get_deadline(attempt, seconds)

    def get_deadline(self, attempt: StepAttempt, seconds: float) -> datetime:
        return attempt.step.created_at + timedelta(seconds=seconds)

    def get_next_check(
        self, attempt: StepAttempt, checks: int, escalated: bool = False
    ) -> datetime | None:
        """At the deadline, or when the document is to be looked at; never, without either."""
        times = []
        if self.deadline and not (escalated or attempt.step.memory.get("escalated")):
            times.append(self.get_deadline(attempt, self.deadline))
        if self.document_id:
            pause = min(MAX_CHECK_SECONDS, FIRST_CHECK_SECONDS * 2.0 ** min(checks, 20))
            times.append(now() + timedelta(seconds=pause))
        return min(times, default=None)
