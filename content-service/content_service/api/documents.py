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

from ..access import find_document
from ..database import DbSession, session_maker
from ..documents import bulk, trash
from ..documents import service as documents
from ..documents.cache import CachedDocument, State
from ..documents.versions import etag
from ..models import Document
from ..schemas import (
    BulkRequest,
    BulkResult,
    DocumentCreate,
    DocumentRead,
    DocumentUpdate,
    DocumentUpload,
    DocumentUploaded,
    DocumentWithBody,
    FileReplacement,
    Stats,
)
from ..settings import settings
from ..statements import autocommit
from .dependencies import Author, GivenETag, Idempotent, Reader
from .downloads import WantedPart, attachment

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
    status_code=201,
    dependencies=[Idempotent],
    max_body_size=settings.max_upload_bytes,
)
def upload_document(
    new: Annotated[DocumentUpload, File()], author: Author, session: DbSession, response: Response
) -> DocumentUploaded:
    """Save an uploaded file (PDF, Office, HTML, Markdown, text) as a document of the caller."""
    uploaded = documents.upload_document(session, author, new)
    response.headers["ETag"] = etag(uploaded.version)
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
    if_match: GivenETag,
    session: DbSession,
    response: Response,
) -> Document:
    """Put another file in place of the content of the version named by If-Match."""
    changed = documents.replace_file(session, author, document_id, if_match, new.file)
    return tagged(response, changed)


@router.post("/documents/bulk", status_code=207)
def change_many(request: BulkRequest, author: Author, session: DbSession) -> BulkResult:
    """Delete, restore or tag up to a hundred documents; each has an outcome of its own."""
    return bulk.run(session, author, request)


@router.get("/documents", response_model=Page[DocumentRead])
def list_documents(reader: Reader, page: PageRequest) -> Response:
    """The documents the caller may see, newest first."""
    with autocommit() as connection:
        return as_json(documents.list_documents(connection, reader, page))


@router.get("/documents/stats")
def read_stats(reader: Reader, session: DbSession) -> Stats:
    """How many documents the caller may see, of what types, and how large."""
    return documents.stats(session, reader)


@router.get("/documents/{document_id}", response_model=DocumentWithBody)
async def read_document(document_id: UUID, reader: Reader, request: Request) -> Response:
    """One document, with its text."""
    # The most frequent request: without a session it changes threads once and not three times.
    state = await run_in_threadpool(state_of, reader, document_id)
    cached, keep = CachedDocument(request.app.state.redis, document_id), None
    json = await cached.json_of(state)
    if json is None:
        state, json = found = await run_in_threadpool(state_and_json, reader, document_id)
        keep = BackgroundTask(cached.keep, *found)
    headers = {"ETag": etag(state.version)}
    return Response(json, 200, headers, media_type="application/json", background=keep)


def state_of(reader: User, document_id: UUID) -> State:
    with autocommit() as connection:
        return documents.current_state(connection, reader, document_id)


def state_and_json(reader: User, document_id: UUID) -> tuple[State, str]:
    with session_maker() as session:
        document = find_document(session, reader, document_id)
    shown = DocumentWithBody.model_validate(document, from_attributes=True)
    return document, shown.model_dump_json()


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
    """Delete a document, for everybody; it stays in the trash for a while."""
    trash.delete_document(session, author, document_id)


@router.get("/documents/{document_id}/download", response_class=StreamingResponse)
def download_document(
    document_id: UUID, reader: Reader, wanted: WantedPart, session: DbSession
) -> Response:
    """The file as it was uploaded, or the text, as an attachment; takes Range."""
    return attachment(documents.download_document(session, reader, document_id), wanted)


def as_json(content: Any) -> Response:
    return Response(to_json(content), media_type="application/json")


def tagged(response: Response, document: Document) -> Document:
    response.headers["ETag"] = etag(document.version)
    return document
