"""Documents: create, upload, list, read, change, delete, download."""

from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, File, Response
from fastapi.responses import FileResponse
from pydantic_core import to_json

from chassis.idempotency import IdempotentRoute
from chassis.pagination import Page, PageRequest

from .. import documents, storage
from ..access import find_document
from ..cache import Cached, State
from ..database import DbSession, reads, session_maker
from ..models import Document, Snapshot
from ..schemas import (
    DocumentCreate,
    DocumentRead,
    DocumentUpdate,
    DocumentUpload,
    DocumentWithBody,
    Stats,
)
from ..settings import settings
from ..uploads import safe_name
from .dependencies import Author, GivenETag, Idempotent, Reader

router = APIRouter(route_class=IdempotentRoute)


@router.post(
    "/documents", response_model=DocumentWithBody, status_code=201, dependencies=[Idempotent]
)
def create_document(
    new: DocumentCreate, author: Author, session: DbSession, response: Response
) -> Document:
    """Save a text document owned by the caller."""
    return tagged(response, documents.create_document(session, author, new))


@router.post(
    "/documents/upload",
    response_model=DocumentWithBody,
    status_code=201,
    dependencies=[Idempotent],
    max_body_size=settings.max_upload_bytes,
)
def upload_document(
    new: Annotated[DocumentUpload, File()], author: Author, session: DbSession, response: Response
) -> Document:
    """Save an uploaded PDF, DOCX, Markdown or text file as a document owned by the caller."""
    return tagged(response, documents.upload_document(session, author, new))


@router.get("/documents", response_model=Page[DocumentRead])
def list_documents(reader: Reader, page: PageRequest) -> Response:
    """The documents the caller may see, newest first."""
    with reads.connect() as connection:
        return as_json(documents.list_documents(connection, reader, page))


@router.get("/documents/stats")
def read_stats(reader: Reader, session: DbSession) -> Stats:
    """How many documents the caller may see, of what types, and how large."""
    return documents.stats(session, reader)


@router.get("/documents/{document_id}", response_model=DocumentWithBody)
def read_document(
    document_id: UUID, reader: Reader, cached: Cached, background: BackgroundTasks
) -> Response:
    """One document, with its text."""
    # The most frequent request: without a session it changes threads once and not three times.
    with reads.connect() as connection:
        state: State = documents.current_state(connection, reader, document_id)
    json = cached.json_of(state)
    if json is None:
        with session_maker() as session:
            state = find_document(session, reader, document_id)
        json = DocumentWithBody.model_validate(state, from_attributes=True).model_dump_json()
        background.add_task(cached.keep, state, json)
    headers = {"ETag": documents.etag(state.version)}
    return Response(json, media_type="application/json", headers=headers)


@router.patch("/documents/{document_id}", response_model=DocumentWithBody)
def change_document(
    document_id: UUID,
    changes: DocumentUpdate,
    author: Author,
    if_match: GivenETag,
    session: DbSession,
    response: Response,
) -> Document:
    """Change title, text or tags of the version named by If-Match, which makes a new version."""
    changed = documents.change_document(session, author, document_id, if_match, changes)
    return tagged(response, changed)


@router.delete("/documents/{document_id}", status_code=204)
def delete_document(document_id: UUID, author: Author, session: DbSession) -> None:
    """Delete a document, for everybody."""
    documents.delete_document(session, author, document_id)


@router.get("/documents/{document_id}/download", response_class=FileResponse)
def download_document(document_id: UUID, reader: Reader, session: DbSession) -> Response:
    """The file as it was uploaded, or the text, as an attachment; takes Range for files."""
    return attachment(documents.download_document(session, reader, document_id))


def as_json(content: Any) -> Response:
    return Response(to_json(content), media_type="application/json")


def tagged(response: Response, document: Document) -> Document:
    response.headers["ETag"] = documents.etag(document.version)
    return document


def attachment(document: Snapshot) -> Response:
    """Saved by a browser, never shown or run by it."""
    name = document.filename or f"{safe_name(document.title)}.txt"
    headers = {
        "Content-Disposition": f"attachment; filename*=utf-8''{quote(name, safe='')}",
        "ETag": f'"{document.sha256}"',
        "X-Content-Type-Options": "nosniff",
    }
    if document.body is not None:
        return Response(document.body, media_type=document.content_type, headers=headers)
    path = storage.local_path(document.sha256)
    return FileResponse(path, media_type=document.content_type, headers=headers)
