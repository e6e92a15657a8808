"""Requests to read the text of a document, and what came of them."""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import NotFound
from chassis.job_queue import DONE, PENDING

from .. import audit
from ..access import get_document
from ..models import Document, Processing, now
from ..schemas import ProcessingRead

FAILED = "failed"


class NeverProcessed(NotFound):
    """Nobody asked for the document's text yet."""


def request_processing(session: Session, user: User, document_id: UUID) -> ProcessingRead:
    """Once per content, however often it is asked for; a failed one is tried again.

    A version with the content of an earlier one takes that one's result over.
    """
    document = get_document(session, user, document_id)
    content = {"document_id": document_id, "sha256": document.sha256}
    row = insert(Processing).values(**content, version=document.version)
    taken_over = {"version": document.version}
    session.execute(
        row.on_conflict_do_update(index_elements=["document_id", "sha256"], set_=taken_over)
    )
    again = update(Processing).filter_by(**content).where(Processing.status == FAILED)
    session.execute(again.values(status=PENDING, run_at=now(), attempts=0, finished_at=None))
    action = "document.processing_requested"
    audit.record(session, user, document_id, action, version=document.version)
    found = get_processing(session, user, document_id)
    if found.status == DONE:
        restore_extracted_text(session, found)
    return found


def restore_extracted_text(session: Session, found: ProcessingRead) -> None:
    """For the search, of a version that was restored in the moment in which its text was found."""
    missing = update(Document).filter_by(id=found.document_id, sha256=found.sha256)
    missing = missing.filter_by(body=None, extracted=None)
    session.execute(missing.values(extracted=found.text))


def get_processing(session: Session, user: User, document_id: UUID) -> ProcessingRead:
    """The newest request's state and result."""
    document = get_document(session, user, document_id)
    newest = (
        select(Processing)
        .where(Processing.document_id == document_id)
        .order_by(Processing.version.desc())
        .limit(1)
    )
    row = session.scalar(newest)
    if row is None:
        raise NeverProcessed("Nobody asked for this document's text yet: POST to .../process")
    found = ProcessingRead.model_validate(row, from_attributes=True)
    found.stale = row.version != document.version
    return found
