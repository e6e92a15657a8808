"""What was deleted: restored on demand, and gone for good after a while."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.pagination import PageParameters, paginate

from .. import audit
from ..access import filter_visible, get_document
from ..models import Document, Grant, Level, Notice, Processing, ShareLink, Version, now
from ..schemas import TrashedDocument
from ..settings import settings

LISTED_COLUMNS = [getattr(Document, name) for name in TrashedDocument.model_fields]
# What goes with a document; its audit trail stays.
DEPENDENT_TABLES = (Processing, Grant, ShareLink, Notice, Version)
PURGE_BATCH_SIZE = 100


def delete_document(session: Session, manager: User, document_id: UUID) -> None:
    """Into the trash: its versions and permissions stay with it."""
    document = get_document(session, manager, document_id, Level.MANAGE, lock=True)
    document.deleted_at = now()
    audit.record(session, manager, document_id, "document.deleted", version=document.version)


def list_trash(session: Session, manager: User, page: PageParameters) -> dict[str, Any]:
    """Only those whom it is to restore see what is in the trash."""
    trashed = filter_visible(select(*LISTED_COLUMNS), manager, Level.MANAGE, trashed=True)
    return paginate(session, trashed, page, Document.id)


def restore_document(session: Session, manager: User, document_id: UUID) -> Document:
    document = get_document(session, manager, document_id, Level.MANAGE, lock=True, trashed=True)
    document.deleted_at = None
    audit.record(session, manager, document_id, "document.restored", version=document.version)
    return document


def purge_document(session: Session, manager: User, document_id: UUID) -> None:
    get_document(session, manager, document_id, Level.MANAGE, lock=True, trashed=True)
    delete_rows(session, [document_id])
    audit.record(session, manager, document_id, "document.purged")


def purge_expired(session: Session) -> int:
    """Some of what has been in the trash for long enough; how many, 0 when that was all."""
    end = now() - timedelta(days=settings.trash_days)
    expired = select(Document.id).where(Document.deleted_at < end).limit(PURGE_BATCH_SIZE)
    ids = session.scalars(expired.with_for_update(skip_locked=True)).all()
    delete_rows(session, ids)
    for document_id in ids:
        audit.record(session, None, document_id, "document.purged", days=settings.trash_days)
    return len(ids)


def delete_rows(session: Session, ids: Sequence[UUID]) -> None:
    """The rows; their files go when nothing else names them (see storage.unused)."""
    for table in DEPENDENT_TABLES:
        session.execute(delete(table).where(table.document_id.in_(ids)))
    session.execute(delete(Document).where(Document.id.in_(ids)))
