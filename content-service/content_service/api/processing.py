"""Processing: extract the text of a document and read the result."""

from uuid import UUID

from fastapi import Depends

from chassis.routing import APIRouter

from ..access import get_document
from ..database import DbSession
from ..extraction import service
from ..schemas.processing import ProcessingRead
from .dependencies import Author, Idempotent, Reader

router = APIRouter(prefix="/documents/{document_id}")


def require_document(document_id: UUID, author: Author, session: DbSession) -> None:
    """Check access before the Idempotency-Key: a stored answer may not outlive the access."""
    get_document(session, author, document_id)


@router.post("/process", status_code=202, dependencies=[Depends(require_document), Idempotent])
def request_processing(document_id: UUID, author: Author, session: DbSession) -> ProcessingRead:
    """Extract the text of the current version; poll `processing` for the result."""
    return service.request_processing(session, author, document_id)


@router.get("/processing")
def read_processing(document_id: UUID, reader: Reader, session: DbSession) -> ProcessingRead:
    """Return the status and the result of the latest request to process the document."""
    return service.get_processing(session, reader, document_id)
