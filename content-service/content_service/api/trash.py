"""Trash: deleted documents. They can be restored until they are purged, by default for 30 days."""

from typing import Any
from uuid import UUID

from fastapi import Response

from chassis.openapi import raises, sends
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..access import UnknownDocument
from ..database import DbSession
from ..documents import trash
from ..models import Document
from ..schemas.documents import DocumentWithBody, TrashedDocument
from .dependencies import Author, Reader
from .documents import set_etag

router = APIRouter(tags=["Trash"])


@router.get("/trash", response_model=Page[TrashedDocument])
def list_trash(reader: Reader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """List the deleted documents that the caller may restore."""
    return trash.list_trash(session, reader, page)


@router.post("/documents/{document_id}/restore", response_model=DocumentWithBody)
@raises(UnknownDocument)
@sends("ETag")
def restore_document(
    document_id: UUID, author: Author, session: DbSession, response: Response
) -> Document:
    """Restore a document from the trash, with its versions and permissions."""
    return set_etag(response, trash.restore_document(session, author, document_id))


@router.delete("/trash/{document_id}", status_code=204)
@raises(UnknownDocument)
def purge_document(document_id: UUID, author: Author, session: DbSession) -> None:
    """Purge a document in the trash: it cannot be restored."""
    trash.purge_document(session, author, document_id)
