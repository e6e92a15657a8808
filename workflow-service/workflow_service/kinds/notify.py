"""communication.notify: somebody is told something, by mail and in-app unless said otherwise."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import JsonObject, Text

from ..engine.definition import RoleName
from ..engine.outcomes import Call, Done, Kind

MOST_MEMBERS = 50  # of a role who are told
MOST_PAGES = 20  # of users that are looked through for them


class Notify(Kind):
    """Tells a person, or those who have a role.

    Takes a template with its variables, or a subject and a body; communication says what misses.
    """

    either: ClassVar[tuple[str, ...]] = ("recipient_id", "role")

    recipient_id: UUID | None = None
    role: RoleName | None = None
    channels: list[Literal["email", "in_app"]] | None = Field(default=None, min_length=1)
    template: Text | None = None
    variables: JsonObject | None = None
    subject: Text | None = None
    body: Text | None = None

    def perform(self, call: Call) -> Done:
        if self.recipient_id:
            told = self.tell(call, str(self.recipient_id), str(call.step.key))
            return Done({"notification_id": told["id"], "status": told["status"]})
        everybody = list(members(call, str(self.role)))[:MOST_MEMBERS]
        told = [self.tell(call, user_id, f"{call.step.key}:{user_id}") for user_id in everybody]
        return Done({"notification_ids": [each["id"] for each in told]})

    def tell(self, call: Call, recipient_id: str, key: str) -> Any:
        message = self.model_dump(exclude={"recipient_id", "role"}, exclude_none=True)
        data = {"recipient_id": recipient_id, "category": "workflow", **message}
        return call.ask(call.neighbours.communication, "POST", "notifications", data, key=key)


def members(call: Call, role: str) -> Iterator[str]:
    """Who has the role, as this service may know; the starter need not know all users."""
    cursor = None
    for _ in range(MOST_PAGES):
        params = {"limit": 100} | ({"cursor": cursor} if cursor else {})
        page = call.neighbours.identity.call("GET", "/api/v1/users", params=params)
        yield from (user["id"] for user in page["items"] if role in user["roles"])
        cursor = page["next_cursor"]
        if cursor is None:
            return
