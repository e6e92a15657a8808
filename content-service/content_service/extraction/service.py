"""Requests to extract the text of a document, and their results."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now
from chassis.errors import NotFound
from chassis.job_queue import DONE, PENDING

from .. import audit
from ..access import get_document
from ..models import Document, Processing
from ..schemas.documents import ProcessingRead

FAILED = "failed"


class NeverProcessed(NotFound):
    """Raised when no one has requested the document's text."""


def request_processing(session: Session, user: User, document_id: UUID) -> ProcessingRead:
    """Queue one extraction per content, which versions share; a failed one is queued again."""
    document = get_document(session, user, document_id)
    content = {"document_id": document_id, "sha256": document.sha256}
    version = {"version": document.version}
    row = insert(Processing).values(**content, **version)
    session.execute(row.on_conflict_do_update(index_elements=list(content), set_=version))
    failed = update(Processing).filter_by(**content).where(Processing.status == FAILED)
    session.execute(failed.values(status=PENDING, run_at=now(), attempts=0, finished_at=None))
    audit.record(session, user, document_id, "document.processing_requested", **version)
    processing = get_processing(session, user, document_id)
    if processing.status == DONE:
        restore_extracted_text(session, processing)
    return processing


def restore_extracted_text(session: Session, processing: ProcessingRead) -> None:
    """Repair the search index of a version that was restored while its text was extracted."""
    missing = update(Document).filter_by(id=processing.document_id, sha256=processing.sha256)
    missing = missing.filter_by(body=None, extracted=None)
    session.execute(missing.values(extracted=processing.text))


def get_processing(session: Session, user: User, document_id: UUID) -> ProcessingRead:
    """Return the state and result of the latest request."""
    document = get_document(session, user, document_id)
    requests = select(Processing).where(Processing.document_id == document_id)
    row = session.scalar(requests.order_by(Processing.version.desc()).limit(1))
    if row is None:
        raise NeverProcessed("This document's text was never requested: POST to .../process first")
    processing = ProcessingRead.model_validate(row)
    processing.stale = row.version != document.version
    return processing
