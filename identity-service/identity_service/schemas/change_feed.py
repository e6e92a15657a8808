"""Responses of the change feed."""

from uuid import UUID

from chassis.schemas import ResponseModel


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
