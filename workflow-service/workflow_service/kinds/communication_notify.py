"""communication.notify: tell a person something, by mail and in-app unless said otherwise."""

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import JsonObject, Text

from ..engine.outcomes import Call, Done, Input


class NotifyInput(Input):
    """A template with its variables, or a subject and a body; communication says what misses."""

    recipient_id: UUID
    channels: list[Literal["email", "in_app"]] | None = Field(default=None, min_length=1)
    template: Text | None = None
    variables: JsonObject | None = None
    subject: Text | None = None
    body: Text | None = None


def notify(call: Call, given: NotifyInput) -> Done:
    message = given.model_dump(exclude={"recipient_id"}, exclude_none=True)
    told = tell(call, given.recipient_id, **message)
    return Done({"notification_id": told["id"], "status": told["status"]})


def tell(call: Call, recipient_id: UUID, **message: Any) -> Any:
    data = {"recipient_id": str(recipient_id), "category": "workflow", **message}
    return call.ask(call.neighbours.communication, "POST", "notifications", data)
