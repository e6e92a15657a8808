"""Documents: create, upload, list, read, change, delete, download."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, File, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from chassis.auth import User
from chassis.idempotency import IdempotentRoute
from chassis.pagination import Page, PageRequest

from ..access import get_document
from ..database import DbSession, session_maker
from ..documents import bulk, service, trash
from ..documents.cache import CachedDocument, DocumentState
from ..documents.versions import format_etag
from ..models import Document
from ..schemas import (
    BulkRequest,
    BulkResult,
    DocumentCreate,
    DocumentRead,
    DocumentStats,
    DocumentUpdate,
    DocumentUpload,
    DocumentUploaded,
    DocumentWithBody,
    FileReplacement,
)
from ..settings import settings
from ..statements import connect_autocommit
from .dependencies import Author, Idempotent, IfMatch, Reader
from .downloads import RequestedRange, build_attachment

router = APIRouter(route_class=IdempotentRoute)


@router.post(
    "/documents", response_model=DocumentWithBody, status_code=201, dependencies=[Idempotent]
)
def create_document(
    new: DocumentCreate, author: Author, session: DbSession, response: Response
) -> Document:
    """Save a text document owned by the caller."""
    return set_etag(response, service.create_document(session, author, new))


@router.post(
    "/documents/upload",
    status_code=201,
    dependencies=[Idempotent],
    max_body_size=settings.max_upload_bytes,
)
def upload_document(
    new: Annotated[DocumentUpload, File()], author: Author, session: DbSession, response: Response
) -> DocumentUploaded:
    """Save an uploaded file (PDF, Office, HTML, Markdown, text) as a document of the caller."""
    uploaded = service.upload_document(session, author, new)
    response.headers["ETag"] = format_etag(uploaded.version)
    return uploaded


@router.put(
    "/documents/{document_id}/file",
    response_model=DocumentWithBody,
    max_body_size=settings.max_upload_bytes,
)
def replace_file(
    document_id: UUID,
    new: Annotated[FileReplacement, File()],
    author: Author,
    if_match: IfMatch,
    session: DbSession,
    response: Response,
) -> Document:
    """Put another file in place of the content of the version named by If-Match."""
    changed = service.replace_file(session, author, document_id, if_match, new.file)
    return set_etag(response, changed)


@router.post("/documents/bulk", status_code=207)
def change_documents(request: BulkRequest, author: Author, session: DbSession) -> BulkResult:
    """Delete, restore or tag up to a hundred documents; each has an outcome of its own."""
    return bulk.change_documents(session, author, request)


@router.get("/documents", response_model=Page[DocumentRead])
def list_documents(reader: Reader, page: PageRequest) -> Response:
    """The documents the caller may see, newest first."""
    with connect_autocommit() as connection:
        return render_json(service.list_documents(connection, reader, page))


@router.get("/documents/stats")
def read_stats(reader: Reader, session: DbSession) -> DocumentStats:
    """How many documents the caller may see, of what types, and how large."""
    return service.get_stats(session, reader)


@router.get("/documents/{document_id}", response_model=DocumentWithBody)
async def read_document(document_id: UUID, reader: Reader, request: Request) -> Response:
    """One document, with its text."""
    # The most frequent request: without a session it changes threads once and not three times.
    state = await run_in_threadpool(load_state, reader, document_id)
    cached, keep = CachedDocument(request.app.state.redis, document_id), None
    json = await cached.find_json(state)
    if json is None:
        state, json = found = await run_in_threadpool(load_state_and_json, reader, document_id)
        keep = BackgroundTask(cached.store_json, *found)
    headers = {"ETag": format_etag(state.version)}
    return Response(json, 200, headers, media_type="application/json", background=keep)


def load_state(reader: User, document_id: UUID) -> DocumentState:
    with connect_autocommit() as connection:
        return service.get_current_state(connection, reader, document_id)


def load_state_and_json(reader: User, document_id: UUID) -> tuple[DocumentState, str]:
    with session_maker() as session:
        document = get_document(session, reader, document_id)
    shown = DocumentWithBody.model_validate(document, from_attributes=True)
    return document, shown.model_dump_json()


@router.patch("/documents/{document_id}", response_model=DocumentWithBody)
def change_document(
    document_id: UUID,
    changes: DocumentUpdate,
    author: Author,
    if_match: IfMatch,
    session: DbSession,
    response: Response,
) -> Document:
    """Change title, text or tags of the version named by If-Match, which makes a new version."""
    changed = service.change_document(session, author, document_id, if_match, changes)
    return set_etag(response, changed)


@router.delete("/documents/{document_id}", status_code=204)
def delete_document(document_id: UUID, author: Author, session: DbSession) -> None:
    """Delete a document, for everybody; it stays in the trash for a while."""
    trash.delete_document(session, author, document_id)


@router.get("/documents/{document_id}/download", response_class=StreamingResponse)
def download_document(
    document_id: UUID, reader: Reader, wanted: RequestedRange, session: DbSession
) -> Response:
    """The file as it was uploaded, or the text, as an attachment; takes Range."""
    return build_attachment(service.download_document(session, reader, document_id), wanted)


def render_json(content: Any) -> Response:
    return Response(to_json(content), media_type="application/json")


def set_etag(response: Response, document: Document) -> Document:
    response.headers["ETag"] = format_etag(document.version)
    return document
