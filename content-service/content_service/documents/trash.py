"""Deleted documents: restored on demand, and purged after a while."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now
from chassis.pagination import PageParameters, paginate

from .. import audit
from ..access import filter_visible, get_document
from ..models import Document, Grant, Level, Notice, Processing, ShareLink, Version
from ..schemas.documents import TrashedDocument

LISTED_COLUMNS = [getattr(Document, name) for name in TrashedDocument.model_fields]
# Purged with a document; its audit trail stays.
DEPENDENT_TABLES = (Processing, Grant, ShareLink, Notice, Version)
PURGE_BATCH_SIZE = 100


def delete_document(session: Session, manager: User, document_id: UUID) -> None:
    """Move a document into the trash, with its versions and grants."""
    document = get_document(session, manager, document_id, Level.MANAGE, lock=True)
    document.deleted_at = now()
    audit.record(session, manager, document_id, "document.deleted", version=document.version)


def list_trash(session: Session, manager: User, page: PageParameters) -> dict[str, Any]:
    """Return a page of the trashed documents that the manager may restore."""
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


def purge_expired(session: Session, trash_days: float) -> int:
    """Purge a batch of documents that were trashed so long ago; return how many."""
    oldest = now() - timedelta(days=trash_days)
    expired = select(Document.id).where(Document.deleted_at < oldest).limit(PURGE_BATCH_SIZE)
    ids = session.scalars(expired.with_for_update(skip_locked=True)).all()
    delete_rows(session, ids)
    for document_id in ids:
        audit.record(session, None, document_id, "document.purged", days=trash_days)
    return len(ids)


def delete_rows(session: Session, ids: Sequence[UUID]) -> None:
    """Delete all rows of the documents; the cleanup removes files that are no longer used."""
    for table in DEPENDENT_TABLES:
        session.execute(delete(table).where(table.document_id.in_(ids)))
    session.execute(delete(Document).where(Document.id.in_(ids)))
