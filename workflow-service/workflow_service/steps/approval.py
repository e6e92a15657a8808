"""approval: people decide, and the run waits for them as long as it takes."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import Field, model_validator

from chassis.schemas import JsonObject, Text

from ..definition.model import RoleName, Seconds, Strict
from ..engine.statuses import now
from .protocol import Again, Answer, Ask, Assignee, Call, Done, Kind, Terminal

# Seconds after which the document is looked at again, then ever more rarely; in any case when
# somebody decides.
FIRST_CHECK = 300.0
RAREST_CHECK = 3600.0


class Message(Strict):
    """How those who are asked are told; the template is given `task_id` as well."""

    template: Text
    variables: JsonObject = Field(default={})


class Approve(Kind):
    """Asks a person, several of whom `needed` must approve, or anybody who has a role.

    With `document_id`, the decision is bound to the document as it is now: when it changes, the
    approval is void, and the step has failed. With `version`, it must not have changed since that.
    After `deadline` seconds others are asked, who may take their time; without any, the decision is
    `expired`.
    """

    any_of: ClassVar[tuple[str, ...]] = ("assignee_id", "assignees", "role")
    needs: ClassVar[str] = "workflows:start"

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
    def somebody_can_decide(self) -> Self:
        people = {*self.assignees, *([self.assignee_id] if self.assignee_id else [])}
        if bool(people) == bool(self.role):
            raise ValueError("give either a role, or assignee_id or assignees")
        if people and self.needed > len(people):
            raise ValueError(f"{self.needed} are needed, and only {len(people)} asked")
        return self

    def perform(self, call: Call) -> Answer:
        self.refuse_to_need(call.run.started_by)
        seen, memory = self.look(call), call.step.memory
        if self.deadline and not memory.get("escalated") and self.is_over(call, self.deadline):
            if not (self.escalate_to or self.escalate_role):
                return Done({"decision": "expired", "comment": "", "decided_by": None})
            if memory:
                return self.ask(call, seen, self.others(), escalated=True)
        if memory:
            checks = memory["checks"] + 1
            return Again(self.next_look(call, checks), {**memory, "checks": checks}, waits=True)
        return self.ask(call, seen, self.first())

    def refuse_to_need(self, starter_id: str) -> None:
        """Raises Terminal when others would vote in vain; whoever is asked alone is told so."""
        others = [each for each in self.first() if each.user_id != starter_id]
        is_next = str(self.escalate_to) == starter_id
        if not self.by_starter and (is_next or 0 < len(others) < self.needed):
            raise Terminal("It needs whoever started the run, who does not decide on it")

    def ask(
        self, call: Call, seen: dict[str, Any], asked: Sequence[Assignee], escalated: bool = False
    ) -> Ask:
        return Ask(
            assignees=asked,
            title=self.title,
            subject=self.subject,
            seen=seen,
            needed=1 if escalated else self.needed,
            not_by=None if self.by_starter else call.run.started_by,
            tell=self.tell.model_dump() if self.tell else {},
            at=self.next_look(call, 0, escalated),
            memory={"seen": seen, "checks": 0, "escalated": escalated},
        )

    def first(self) -> list[Assignee]:
        if self.role:
            return [Assignee(role=self.role)] * self.needed
        people = [*([self.assignee_id] if self.assignee_id else []), *self.assignees]
        return [Assignee(str(user_id)) for user_id in dict.fromkeys(people)]

    def others(self) -> list[Assignee]:
        person = str(self.escalate_to) if self.escalate_to else None
        return [Assignee(person, None if person else self.escalate_role)]

    def look(self, call: Call) -> dict[str, Any]:
        """The document as it is now; raises Terminal when it is not the one that was seen."""
        if self.document_id is None:
            return {}
        document = call.ask(call.neighbours.content, "GET", f"documents/{self.document_id}")
        now_seen = {"document_id": str(self.document_id)}
        now_seen |= {field: document[field] for field in ("version", "sha256")}
        expected = call.step.memory.get("seen", {}).get("version", self.version)
        if expected not in (None, document["version"]):
            raise Terminal(
                f"The document is at version {document['version']} by now, and not at {expected}:"
                " what was to be decided has changed"
            )
        return now_seen

    def is_over(self, call: Call, seconds: float) -> bool:
        """By the database's clock, which let the step be due then."""
        return call.step.run_at >= self.over(call, seconds)

    def over(self, call: Call, seconds: float) -> datetime:
        return call.step.created_at + timedelta(seconds=seconds)

    def next_look(self, call: Call, checks: int, escalated: bool = False) -> datetime | None:
        """At the deadline, or when the document is to be looked at; never, without either."""
        times = []
        if self.deadline and not (escalated or call.step.memory.get("escalated")):
            times.append(self.over(call, self.deadline))
        if self.document_id:
            pause = min(RAREST_CHECK, FIRST_CHECK * 2.0 ** min(checks, 20))
            times.append(now() + timedelta(seconds=pause))
        return min(times, default=None)
