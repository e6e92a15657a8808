"""The audit trail: who did what to whom, from where, under which trace id."""

from contextvars import ContextVar
from typing import Any
from uuid import UUID

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User
from chassis.tracing import get_trace_id

from .models import AuditEvent

Origin = tuple[str | None, str | None]
_origin: ContextVar[Origin] = ContextVar("origin")


def get_origin() -> Origin:
    """The address and the user agent of the request at hand; neither, outside any."""
    return _origin.get((None, None))


async def remember_origin(request: Request) -> None:
    """A dependency of every router whose acts are recorded."""
    ip = request.client.host if request.client else None
    _origin.set((ip, request.headers.get("user-agent", "")[:500]))


def record(
    session: AsyncSession,
    action: str,
    *,
    caller: User | None = None,
    actor: UUID | None = None,
    subject: UUID | None = None,
    **details: Any,
) -> None:
    """One event, in the transaction of the act itself.

    The actor is whose token it was, `caller`, or without one whoever the caller said to be.
    """
    session.add(
        AuditEvent(
            action=action,
            actor_id=UUID(caller.user_id) if caller else actor,
            acting_service=caller.actor if caller else None,
            subject_id=subject,
            ip=get_origin()[0],
            trace_id=get_trace_id(),
            details=details,
        )
    )
