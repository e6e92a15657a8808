"""Audit trail: who logged in, failed to, or changed a user, role or key, and when."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query
from sqlalchemy import Select, select

from chassis.auth import require_permission
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter
from chassis.schemas import Time

from ..database import DbSession
from ..models import AuditEvent
from ..schemas.events import AuditEventRead
from ..schemas.fields import CheckedText

router = APIRouter(
    prefix="/audit-events", tags=["Audit trail"], dependencies=[require_permission("audit:read")]
)

TextFilter = Annotated[str | None, Query(max_length=100), CheckedText]


def select_events(
    actor: Annotated[UUID | None, Query(description="The user who acted.")] = None,
    subject: Annotated[UUID | None, Query(description="The user it was done to.")] = None,
    action: Annotated[TextFilter, Query(description="Such as `login.failed`.")] = None,
    trace_id: Annotated[TextFilter, Query(description="The trace id of a request.")] = None,
    since: Annotated[Time | None, Query(description="The earliest time.")] = None,
    until: Annotated[Time | None, Query(description="The end, which is not included.")] = None,
) -> Select[Any]:
    """Combines the filters that are given; `until` is exclusive."""
    filters = {"actor_id": actor, "subject_id": subject, "action": action, "trace_id": trace_id}
    given = {name: value for name, value in filters.items() if value is not None}
    events = select(AuditEvent).filter_by(**given)
    if since:
        events = events.where(AuditEvent.at >= since)
    if until:
        events = events.where(AuditEvent.at < until)
    return events


MatchingEvents = Annotated[Any, Depends(select_events)]


@router.get("", response_model=Page[AuditEventRead])
async def list_audit_events(session: DbSession, page: PageRequest, events: MatchingEvents) -> Any:
    """List audit events, newest first; filter by who acted, on whom, what they did, and when."""
    return await session.run_sync(paginate, events, page, AuditEvent.id)
