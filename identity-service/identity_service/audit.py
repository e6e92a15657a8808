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
    """Adds an event to the transaction of the action; `actor` is for users without a token yet."""
    event = AuditEvent(action=action, actor_id=actor, subject_id=subject, details=details)
    if caller:
        event.actor_id = UUID(caller.user_id)
        event.acting_service = caller.actor
    event.ip = get_origin().ip
    event.trace_id = get_trace_id()
    session.add(event)
