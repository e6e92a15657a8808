"""The audit trail, for those who may read it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query
from sqlalchemy import Select, select

from chassis.auth import User, require_permission
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..database import DbSession
from ..models import AuditEvent
from ..schemas.bodies import AuditEventRead
from ..schemas.fields import CheckedText, Time

router = APIRouter(prefix="/audit-events")

Action = Annotated[str | None, Query(max_length=100), CheckedText]
Auditor = Annotated[User, require_permission("audit:read")]


def select_events(
    actor: UUID | None = None,
    subject: UUID | None = None,
    action: Action = None,
    trace_id: Action = None,
    since: Time | None = None,
    until: Time | None = None,
) -> Select[Any]:
    """The events that fit everything that is asked for."""
    equal = {"actor_id": actor, "subject_id": subject, "action": action, "trace_id": trace_id}
    found = select(AuditEvent).filter_by(**{name: v for name, v in equal.items() if v is not None})
    found = found.where(AuditEvent.at >= since) if since else found
    return found.where(AuditEvent.at < until) if until else found


MatchingEvents = Annotated[Any, Depends(select_events)]


@router.get("", response_model=Page[AuditEventRead])
async def list_audit_events(
    auditor: Auditor, session: DbSession, page: PageRequest, wanted: MatchingEvents
) -> Any:
    """What happened, the newest first: to whom, by whom, since when."""
    return await session.run_sync(paginate, wanted, page, AuditEvent.id)
