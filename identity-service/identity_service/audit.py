"""The audit trail: who did what to whom, from where, under which trace id."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User
from chassis.tracing import trace_id

from .models import AuditEvent


@dataclass(frozen=True)
class Origin:
    """Where a request comes from."""

    ip: str | None = None
    user_agent: str | None = None


_origin: ContextVar[Origin] = ContextVar("origin")


def origin() -> Origin:
    """Of the request at hand; nowhere, outside any."""
    return _origin.get(Origin())


async def note_origin(request: Request) -> None:
    """A dependency of every router whose acts are recorded."""
    ip = request.client.host if request.client else None
    _origin.set(Origin(ip, request.headers.get("user-agent", "")[:500]))


def record(
    session: AsyncSession,
    action: str,
    *,
    by: User | None = None,
    subject: UUID | None = None,
    **details: Any,
) -> None:
    """One event, in the transaction of the act itself; `by` nobody when the caller had no token."""
    session.add(
        AuditEvent(
            action=action,
            actor_id=UUID(by.user_id) if by else None,
            acting_service=by.actor if by else None,
            subject_id=subject,
            ip=origin().ip,
            trace_id=trace_id(),
            details=details,
        )
    )
