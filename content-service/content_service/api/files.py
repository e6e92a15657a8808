"""Files: the text that is extracted from a document, and the check of all stored files."""

from uuid import UUID

from fastapi import Depends

from chassis.openapi import raises
from chassis.pagination import PageRequest
from chassis.routing import APIRouter

from ..access import UnknownDocument, get_document
from ..database import DbSession
from ..extraction import service
from ..extraction.service import NeverProcessed
from ..files import integrity
from ..files.storage import StorageFailed
from ..schemas.documents import IntegrityReport, ProcessingRead
from .dependencies import Administrator, Author, Idempotent, Reader, Storage

router = APIRouter(tags=["Files"])
PROCESS = "/documents/{document_id}/process"


@raises(UnknownDocument)
def require_document(document_id: UUID, author: Author, session: DbSession) -> None:
    """Check access before the Idempotency-Key: a stored answer may not outlive the access."""
    get_document(session, author, document_id)


@router.post(PROCESS, status_code=202, dependencies=[Depends(require_document), Idempotent])
def request_processing(document_id: UUID, author: Author, session: DbSession) -> ProcessingRead:
    """Extract the text of the current version; poll `processing` for the result."""
    return service.request_processing(session, author, document_id)


@router.get("/documents/{document_id}/processing")
@raises(UnknownDocument, NeverProcessed)
def read_processing(document_id: UUID, reader: Reader, session: DbSession) -> ProcessingRead:
    """Return the status and the result of the latest request to process the document."""
    return service.get_processing(session, reader, document_id)


@router.get("/integrity")
@raises(StorageFailed)
def check_files(
    administrator: Administrator, session: DbSession, storage: Storage, page: PageRequest
) -> IntegrityReport:
    """Read stored files, for up to ten seconds, and report those that are missing or damaged."""
    return integrity.check_files(session, storage, page)
