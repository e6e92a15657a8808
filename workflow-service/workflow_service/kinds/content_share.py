"""content.share: give a person access to a document."""

from typing import Literal
from uuid import UUID

from ..engine.outcomes import Call, Done, Input

LEVELS = ("read", "write", "manage")


class ShareInput(Input):
    document_id: UUID
    user_id: UUID
    level: Literal["read", "write", "manage"] = "read"


def share(call: Call, given: ShareInput) -> Done:
    """Takes nothing away: who may do more than asked, the owner above all, keeps it."""
    path, user_id = f"documents/{given.document_id}/permissions", str(given.user_id)
    found = call.ask(call.neighbours.content, "GET", path, params={"limit": 100})["items"]
    level = {item["user_id"]: item["level"] for item in found}.get(user_id)
    if level is None or LEVELS.index(level) < LEVELS.index(given.level):
        level = given.level
        call.ask(call.neighbours.content, "PUT", f"{path}/{user_id}", {"level": level})
    return Done({"document_id": str(given.document_id), "user_id": user_id, "level": level})
