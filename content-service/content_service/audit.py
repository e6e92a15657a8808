"""The audit trail: who did what to which document, for whom, under which trace id."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.pagination import PageParameters, paginate

from .access import ALL_DOCUMENTS_PERMISSION, get_document
from .models import AuditEntry, Level
from .statements import insert_row


def record(
    session: Session, user: User | None, document_id: UUID, action: str, **details: Any
) -> None:
    """In the transaction of the act itself: they happen together or not at all.

    No user means nobody known, who came by a share link, or the service itself.
    """
    insert_row(
        session,
        AuditEntry,
        document_id=document_id,
        action=action,
        actor_id=user and user.user_id,
        acting_service=user and user.actor,
        details=details,
    )


def list_entries(
    session: Session, user: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    if not user.has_permission(
        ALL_DOCUMENTS_PERMISSION
    ):  # whoever may see all also sees what became of a purged one
        get_document(session, user, document_id, Level.MANAGE)
    entries = select(AuditEntry).where(AuditEntry.document_id == document_id)
    return paginate(session, entries, page, AuditEntry.id)
