"""communication.notify and approval: what people are told, and what they are asked."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import JsonObject, Text

from ..engine.definition import Strict
from ..engine.outcomes import Ask, Call, Done, Kind


class Notify(Kind):
    """Tell a person something, by mail and in-app unless said otherwise.

    Takes a template with its variables, or a subject and a body; communication says what misses.
    """

    recipient_id: UUID
    channels: list[Literal["email", "in_app"]] | None = Field(default=None, min_length=1)
    template: Text | None = None
    variables: JsonObject | None = None
    subject: Text | None = None
    body: Text | None = None

    def perform(self, call: Call) -> Done:
        message = self.model_dump(exclude={"recipient_id"}, exclude_none=True)
        told = tell(call, self.recipient_id, **message)
        return Done({"notification_id": told["id"], "status": told["status"]})


class Message(Strict):
    """How the assignee is told; the template is given `task_id` as well."""

    template: Text
    variables: JsonObject = Field(default={})


class Approve(Kind):
    """Have a person decide, and wait for it as long as it takes."""

    assignee_id: UUID
    title: Text = Field(min_length=1, max_length=500)
    subject: JsonObject = Field(default={})
    tell: Message | None = None

    def perform(self, call: Call) -> Ask:
        if self.tell:
            variables = {**self.tell.variables, "task_id": str(call.step.id)}
            tell(call, self.assignee_id, template=self.tell.template, variables=variables)
        return Ask(str(self.assignee_id), self.title, self.subject)


def tell(call: Call, recipient_id: UUID, **message: Any) -> Any:
    data = {"recipient_id": str(recipient_id), "category": "workflow", **message}
    return call.ask(call.neighbours.communication, "POST", "notifications", data)
