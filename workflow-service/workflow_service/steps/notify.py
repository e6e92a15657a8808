"""communication.notify: notifies people, by email and in-app unless `channels` says otherwise."""

from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from chassis.contracts import NewNotification
from chassis.schemas import JsonObject, Text

from ..contracts import LIST_USERS, SEND_NOTIFICATION, SentNotification
from ..definition.model import RoleName, StepDefinition
from ..definition.value_schemas import Schema, build_union
from .protocol import Done, OutputContext, StepAttempt, StepOutput, StepType, register

MAX_ROLE_MEMBERS = 50  # further users with the role are not notified


class UserNotifyOutput(StepOutput):
    notification_id: UUID
    status: str


class RoleNotifyOutput(StepOutput):
    notification_ids: list[UUID]


@register("communication.notify")
class Notify(StepType):
    """Notifies a user, or the users with a role.

    Takes a template with its variables, or a subject and a body; communication checks them.
    """

    exactly_one_of: ClassVar[tuple[str, ...]] = ("recipient_id", "role")

    recipient_id: UUID | None = None
    role: RoleName | None = None
    channels: list[Literal["email", "in_app"]] | None = Field(default=None, min_length=1)
    template: Text | None = None
    variables: JsonObject | None = None
    subject: Text | None = None
    body: Text | None = None

    @classmethod
    def describe_output(cls, step: StepDefinition, context: OutputContext) -> Schema:
        models: dict[str, type[StepOutput]] = {
            "recipient_id": UserNotifyOutput,
            "role": RoleNotifyOutput,
        }
        return build_union(models[name].get_schema() for name in models if name in step.inputs)

    def perform(self, attempt: StepAttempt) -> Done:
        key = str(attempt.step.key)
        if self.recipient_id:
            sent = self.send(attempt, str(self.recipient_id), key)
            return Done({"notification_id": sent["id"], "status": sent["status"]})
        members = list_members(attempt, str(self.role))
        all_sent = [self.send(attempt, user_id, f"{key}:{user_id}") for user_id in members]
        return Done({"notification_ids": [sent["id"] for sent in all_sent]})

    def send(self, attempt: StepAttempt, recipient_id: str, key: str) -> SentNotification:
        message: Any = self.model_dump(exclude={"recipient_id", "role"}, exclude_none=True)
        data: NewNotification = {"recipient_id": recipient_id, "category": "workflow"}
        data.update(message)
        return attempt.call_service(SEND_NOTIFICATION, data, key=key)


def list_members(attempt: StepAttempt, role: str) -> list[str]:
    """Return the users with the role, with the rights of this service and not the starter's."""
    params = {"role": role, "limit": MAX_ROLE_MEMBERS}
    page = LIST_USERS.make_from_thread(attempt.neighbours.identity, params=params)
    return [user["id"] for user in page["items"]]
