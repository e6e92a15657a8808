"""Responses of the audit trail and of the change feed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from chassis.schemas import ResponseModel


class AuditEventRead(ResponseModel):
    id: UUID
    at: datetime
    action: str = Field(description="Such as `login.failed` or `role.updated`.")
    actor_id: UUID | None = Field(description="The user who acted; null when unknown.")
    acting_service: str | None = Field(description="The service that acted for the user.")
    subject_id: UUID | None = Field(description="The user it was done to.")
    ip: str | None = Field(description="The address that the request came from.")
    trace_id: str | None = Field(description="Finds the request in the logs.")
    details: dict[str, Any] = Field(description="What else there is to say about the action.")


class ChangeRead(ResponseModel):
    """Names a session, or all sessions of a user, or (with two nulls) all users."""

    seq: int = Field(description="The position of this change in the feed.")
    user_id: UUID | None
    session_id: UUID | None


class ChangeFeed(ResponseModel):
    """Names the users whose cached permissions must be dropped."""

    latest: int = Field(description="Send it as `after` in the next request.")
    reset: bool = Field(description="Whether to drop everything: the position is unknown.")
    changes: list[ChangeRead]
