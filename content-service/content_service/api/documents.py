"""Documents: texts and uploaded files, with a title and tags.

Every change makes a new version. It needs the ETag of the current one as If-Match, so that no
change overwrites another unseen.
"""

from typing import Annotated, Any
from uuid import UUID

from fastapi import File, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from chassis.auth import User
from chassis.openapi import raises, sends
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..access import LevelTooLow, UnknownDocument, get_document
from ..database import DbSession, connect_autocommit, session_maker
from ..documents import service, trash
from ..documents.cache import CachedDocument, DocumentState
from ..documents.service import DuplicateFile
from ..documents.versions import format_etag
from ..files.content_types import UnsupportedFile
from ..files.storage import StorageFailed
from ..models import Document
from ..schemas import documents as schemas
from ..schemas.documents import DocumentWithBody
from ..settings import settings
from .dependencies import Author, CurrentSettings, Idempotent, IfMatch, Reader, Storage
from .downloads import DOWNLOAD_RESPONSES, RequestedRange, build_attachment

router = APIRouter(tags=["Documents"])
MAX_UPLOAD_BYTES = settings.max_upload_bytes


@router.post(
    "/documents", response_model=DocumentWithBody, status_code=201, dependencies=[Idempotent]
)
@sends("ETag")
def create_document(
    new: schemas.DocumentCreate, author: Author, session: DbSession, response: Response
) -> Document:
    """Create a text document, which the caller owns."""
    return set_etag(response, service.create_document(session, author, new))


@router.post(
    "/documents/upload", status_code=201, dependencies=[Idempotent], max_body_size=MAX_UPLOAD_BYTES
)
@raises(UnsupportedFile, DuplicateFile, StorageFailed)
@sends("ETag")
def upload_document(
    new: Annotated[schemas.DocumentUpload, File()],
    author: Author,
    session: DbSession,
    storage: Storage,
    settings: CurrentSettings,
    response: Response,
) -> schemas.DocumentUploaded:
    """Create a document from a file (PDF, Office, HTML, Markdown, text), which the caller owns."""
    uploaded = service.upload_document(session, storage, author, new, settings.duplicates)
    response.headers["ETag"] = format_etag(uploaded.version)
    return uploaded


@router.put(
    "/documents/{document_id}/file", response_model=DocumentWithBody, max_body_size=MAX_UPLOAD_BYTES
)
@raises(UnknownDocument, LevelTooLow, UnsupportedFile, DuplicateFile, StorageFailed)
@sends("ETag")
def replace_file(
    document_id: UUID,
    new: Annotated[schemas.FileReplacement, File()],
    author: Author,
    if_match: IfMatch,
    session: DbSession,
    storage: Storage,
    settings: CurrentSettings,
    response: Response,
) -> Document:
    """Replace the text or file by another file, as a new version; title and tags stay."""
    changed = service.replace_file(
        session, storage, author, document_id, if_match, new.file, settings.duplicates
    )
    return set_etag(response, changed)


@router.post("/documents/bulk", status_code=207, summary="Change many documents")
def change_documents(
    request: schemas.BulkRequest, author: Author, session: DbSession
) -> schemas.BulkResult:
    """Delete, restore or tag up to a hundred documents; each has its own outcome."""
    return service.change_documents(session, author, request)


@router.get("/documents", response_model=Page[schemas.DocumentRead])
def list_documents(reader: Reader, page: PageRequest) -> Response:
    """List the documents the caller may see, the newest first."""
    with connect_autocommit() as connection:
        return render_json(service.list_documents(connection, reader, page))


@router.get("/documents/stats")
def count_documents(reader: Reader, session: DbSession) -> schemas.DocumentStats:
    """Count the documents the caller may see, by type, and their bytes."""
    return service.get_stats(session, reader)


@router.get("/documents/{document_id}", response_model=DocumentWithBody)
@raises(UnknownDocument)
@sends("ETag")
async def read_document(document_id: UUID, reader: Reader, request: Request) -> Response:
    """Return one document, with its text."""
    # The most frequent request: without a session it changes threads once instead of three times.
    state = await run_in_threadpool(load_state, reader, document_id)
    cached = CachedDocument(request.app.state.redis, document_id)
    cached_json = await cached.find_json(state)
    if cached_json is not None:
        return build_response(state, cached_json)
    state, json = await run_in_threadpool(load_state_and_json, reader, document_id)
    return build_response(state, json, BackgroundTask(cached.store_json, state, json))


def load_state(reader: User, document_id: UUID) -> DocumentState:
    with connect_autocommit() as connection:
        return service.get_current_state(connection, reader, document_id)


def load_state_and_json(reader: User, document_id: UUID) -> tuple[DocumentState, str]:
    with session_maker() as session:
        document = get_document(session, reader, document_id)
    return document, DocumentWithBody.model_validate(document).model_dump_json()


@router.patch("/documents/{document_id}", response_model=DocumentWithBody)
@raises(UnknownDocument, LevelTooLow)
@sends("ETag")
def change_document(
    document_id: UUID,
    changes: schemas.DocumentUpdate,
    author: Author,
    if_match: IfMatch,
    session: DbSession,
    response: Response,
) -> Document:
    """Change title, text or tags, as a new version. The text of an uploaded file cannot change."""
    changed = service.change_document(session, author, document_id, if_match, changes)
    return set_etag(response, changed)


@router.delete("/documents/{document_id}", status_code=204)
@raises(UnknownDocument, LevelTooLow)
def delete_document(document_id: UUID, author: Author, session: DbSession) -> None:
    """Move a document into the trash, from which it can be restored until it is purged."""
    trash.delete_document(session, author, document_id)


@router.get(
    "/documents/{document_id}/download",
    response_class=StreamingResponse,
    responses=DOWNLOAD_RESPONSES,
)
@raises(UnknownDocument)
def download_document(
    document_id: UUID, reader: Reader, part: RequestedRange, session: DbSession, storage: Storage
) -> Response:
    """Download the uploaded file, or the text, as an attachment; supports Range."""
    document = service.download_document(session, reader, document_id)
    return build_attachment(document, part, storage)


def build_response(state: DocumentState, json: str, task: BackgroundTask | None = None) -> Response:
    headers = {"ETag": format_etag(state.version)}
    return Response(json, 200, headers, media_type="application/json", background=task)


def render_json(content: Any) -> Response:
    return Response(to_json(content), media_type="application/json")


def set_etag(response: Response, document: Document) -> Document:
    response.headers["ETag"] = format_etag(document.version)
    return document
