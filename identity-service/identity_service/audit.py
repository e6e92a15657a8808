"""The audit trail: who did what to whom, from which address, under which trace id."""

from contextvars import ContextVar
from typing import Any, NamedTuple
from uuid import UUID

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User
from chassis.tracing import get_trace_id

from .models import AuditEvent


class Origin(NamedTuple):
    """Says where a request came from; both are None outside a request."""

    ip: str | None = None
    user_agent: str | None = None


_origin: ContextVar[Origin] = ContextVar("origin", default=Origin())  # noqa: B039


def get_origin() -> Origin:
    return _origin.get()


async def remember_origin(request: Request) -> None:
    """A dependency of every router whose actions are audited."""
    ip = request.client.host if request.client else None
    _origin.set(Origin(ip, request.headers.get("user-agent", "")[:500]))


def record(
    session: AsyncSession,
    action: str,
    *,
    caller: User | None = None,
    actor: UUID | None = None,
    subject: UUID | None = None,
    **details: Any,
) -> None:
    """Adds an event to the transaction of the action itself.

    The acting user is `caller`, or `actor` where there is no token, as at a login.
    """
    session.add(
        AuditEvent(
            action=action,
            actor_id=UUID(caller.user_id) if caller else actor,
            acting_service=caller.actor if caller else None,
            subject_id=subject,
            ip=get_origin().ip,
            trace_id=get_trace_id(),
            details=details,
        )
    )
