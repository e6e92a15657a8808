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
from ..access import find_document, visible
from ..models import Access, Document, Level, Notice, Processing, ShareLink, Version, now
from ..schemas import TrashedDocument
from ..settings import settings

COLUMNS = [getattr(Document, name) for name in TrashedDocument.model_fields]
# What goes with a document; its audit trail stays.
BELONGING = (Processing, Access, ShareLink, Notice, Version)
BATCH = 100


def delete_document(session: Session, manager: User, document_id: UUID) -> None:
    """Into the trash: its versions and permissions stay with it."""
    document = find_document(session, manager, document_id, Level.MANAGE, lock=True)
    document.deleted_at = now()
    audit.record(session, manager, document_id, "document.deleted", version=document.version)


def list_trash(session: Session, manager: User, page: PageParameters) -> dict[str, Any]:
    """Only those whom it is to restore see what is in the trash."""
    trashed = visible(select(*COLUMNS), manager, Level.MANAGE, trashed=True)
    return paginate(session, trashed, page, Document.id)


def restore_document(session: Session, manager: User, document_id: UUID) -> Document:
    document = find_document(session, manager, document_id, Level.MANAGE, lock=True, trashed=True)
    document.deleted_at = None
    audit.record(session, manager, document_id, "document.restored", version=document.version)
    return document


def purge_document(session: Session, manager: User, document_id: UUID) -> None:
    find_document(session, manager, document_id, Level.MANAGE, lock=True, trashed=True)
    purge(session, [document_id])
    audit.record(session, manager, document_id, "document.purged")


def purge_expired(session: Session) -> int:
    """Some of what has been in the trash for long enough; how many, 0 when that was all."""
    end = now() - timedelta(days=settings.trash_days)
    expired = select(Document.id).where(Document.deleted_at < end).limit(BATCH)
    ids = session.scalars(expired.with_for_update(skip_locked=True)).all()
    purge(session, ids)
    for document_id in ids:
        audit.record(session, None, document_id, "document.purged", days=settings.trash_days)
    return len(ids)


def purge(session: Session, ids: Sequence[UUID]) -> None:
    """The rows; their files go when nothing else names them (see storage.unused)."""
    for table in BELONGING:
        session.execute(delete(table).where(table.document_id.in_(ids)))
    session.execute(delete(Document).where(Document.id.in_(ids)))
