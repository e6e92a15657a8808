"""Responses of the audit trail and of the change feed."""

from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.schemas import ResponseModel


class AuditEventRead(ResponseModel):
    id: UUID
    at: datetime
    action: str
    actor_id: UUID | None
    acting_service: str | None
    subject_id: UUID | None
    ip: str | None
    trace_id: str | None
    details: dict[str, Any]


class ChangeRead(ResponseModel):
    """Names a session, or all sessions of a user, or (with two nulls) all users."""

    seq: int
    user_id: UUID | None
    session_id: UUID | None


class ChangeFeed(ResponseModel):
    """After a `reset`, drop everything that is cached: the position asked for is unknown."""

    latest: int
    reset: bool
    changes: list[ChangeRead]
