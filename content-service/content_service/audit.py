"""The audit trail: who did what with which document, for whom, and under which trace id."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.pagination import PageParameters, paginate

from .access import can_see_all_documents, get_document
from .database import insert_row
from .models import AuditEntry, Level


def record(
    session: Session, user: User | None, document_id: UUID, action: str, **details: Any
) -> None:
    """Write an entry in the action's transaction; no user means a link's visitor or the service."""
    actor = {"actor_id": user and user.user_id, "acting_service": user and user.actor}
    entry = {"document_id": document_id, "action": action, "details": details, **actor}
    insert_row(session, AuditEntry, **entry)


def list_entries(
    session: Session, user: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    # The trail outlives the document: administrators can read it after a purge.
    if not can_see_all_documents(user):
        get_document(session, user, document_id, Level.MANAGE)
    entries = select(AuditEntry).where(AuditEntry.document_id == document_id)
    return paginate(session, entries, page, AuditEntry.id)
