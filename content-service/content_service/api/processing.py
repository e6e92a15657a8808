"""Processing: ask for a document's text and see what came of it."""

from uuid import UUID

from fastapi import APIRouter, Depends

from chassis.idempotency import IdempotentRoute

from ..access import get_document
from ..database import DbSession
from ..extraction import service
from ..schemas import ProcessingRead
from .dependencies import Author, Idempotent, Reader

router = APIRouter(prefix="/documents/{document_id}", route_class=IdempotentRoute)


def require_document(document_id: UUID, author: Author, session: DbSession) -> None:
    """Before the key is looked up: a kept answer is for who may still see the document."""
    get_document(session, author, document_id)


@router.post("/process", status_code=202, dependencies=[Depends(require_document), Idempotent])
def request_processing(document_id: UUID, author: Author, session: DbSession) -> ProcessingRead:
    """Have the text of the newest version extracted; poll `processing` for the result."""
    return service.request_processing(session, author, document_id)


@router.get("/processing")
def read_processing(document_id: UUID, reader: Reader, session: DbSession) -> ProcessingRead:
    """The state and the result of the newest request to process the document."""
    return service.get_processing(session, reader, document_id)
