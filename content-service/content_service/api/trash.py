"""The trash: deleted documents, for those who may manage them."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response

from chassis.pagination import Page, PageRequest

from ..database import DbSession
from ..documents import trash
from ..models import Document
from ..schemas import DocumentWithBody, TrashedDocument
from .dependencies import Author, Reader
from .documents import set_etag

router = APIRouter()


@router.get("/trash", response_model=Page[TrashedDocument])
def list_trash(reader: Reader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """The deleted documents that the caller may restore."""
    return trash.list_trash(session, reader, page)


@router.post("/documents/{document_id}/restore", response_model=DocumentWithBody)
def restore_document(
    document_id: UUID, author: Author, session: DbSession, response: Response
) -> Document:
    """Take a document out of the trash, with its versions and permissions as they were."""
    return set_etag(response, trash.restore_document(session, author, document_id))


@router.delete("/trash/{document_id}", status_code=204)
def purge_document(document_id: UUID, author: Author, session: DbSession) -> None:
    """Delete a document in the trash for good."""
    trash.purge_document(session, author, document_id)
