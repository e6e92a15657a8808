"""communication.notify: somebody is told something, by mail and in-app unless said otherwise."""

from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import JsonObject, Text

from ..definition.model import RoleName
from .protocol import Done, StepAttempt, StepType, register

MAX_ROLE_MEMBERS = 50  # of a role who are told


@register("communication.notify")
class Notify(StepType):
    """Tells a person, or those who have a role.

    Takes a template with its variables, or a subject and a body; communication says what misses.
    """

    exactly_one_of: ClassVar[tuple[str, ...]] = ("recipient_id", "role")

    recipient_id: UUID | None = None
    role: RoleName | None = None
    channels: list[Literal["email", "in_app"]] | None = Field(default=None, min_length=1)
    template: Text | None = None
    variables: JsonObject | None = None
    subject: Text | None = None
    body: Text | None = None

    def perform(self, attempt: StepAttempt) -> Done:
        if self.recipient_id:
            told = self.send(attempt, str(self.recipient_id), str(attempt.step.key))
            return Done({"notification_id": told["id"], "status": told["status"]})
        keys = {
            user_id: f"{attempt.step.key}:{user_id}"
            for user_id in list_members(attempt, str(self.role))
        }
        told = [self.send(attempt, user_id, key) for user_id, key in keys.items()]
        return Done({"notification_ids": [each["id"] for each in told]})

    def send(self, attempt: StepAttempt, recipient_id: str, key: str) -> Any:
        message = self.model_dump(exclude={"recipient_id", "role"}, exclude_none=True)
        data = {"recipient_id": recipient_id, "category": "workflow", **message}
        return attempt.call_service(
            attempt.neighbours.communication, "POST", "notifications", data, key=key
        )


def list_members(attempt: StepAttempt, role: str) -> list[str]:
    """Who has the role, as this service may know; the starter need not know all users."""
    params = {"role": role, "limit": MAX_ROLE_MEMBERS}
    page = attempt.neighbours.identity.call_from_thread("GET", "/api/v1/users", params=params)
    return [user["id"] for user in page["items"]]
