"""The audit trail, for those who may read it."""

from typing import Annotated, Any

from fastapi import APIRouter
from sqlalchemy import select

from chassis.auth import User, require_permission
from chassis.pagination import Page, PageRequest, paginate

from ..database import DbSession
from ..models import AuditEvent
from ..schemas import AuditEventRead

router = APIRouter(prefix="/audit-events")

Auditor = Annotated[User, require_permission("audit:read")]


@router.get("", response_model=Page[AuditEventRead])
async def list_audit_events(auditor: Auditor, session: DbSession, page: PageRequest) -> Any:
    """What happened, the newest first."""
    return await session.run_sync(paginate, select(AuditEvent), page, AuditEvent.id)
