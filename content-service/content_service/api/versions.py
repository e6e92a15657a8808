"""Versions: every state a document had."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse

from chassis.pagination import Page, PageRequest

from ..database import DbSession
from ..documents import versions
from ..models import Document, Version
from ..schemas import DocumentWithBody, VersionLabel, VersionRead, VersionWithBody
from .dependencies import Author, IfMatch, Reader
from .documents import set_etag
from .downloads import RequestedRange, build_attachment

router = APIRouter(prefix="/documents/{document_id}/versions")

VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get("", response_model=Page[VersionRead])
def list_versions(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """The versions of a document, newest first."""
    return versions.list_versions(session, reader, document_id, page)


@router.get("/{number}", response_model=VersionWithBody)
def read_version(
    document_id: UUID, number: VersionNumber, reader: Reader, session: DbSession
) -> Version:
    """One version of a document, whole."""
    return versions.get_version(session, reader, document_id, number)


@router.get("/{number}/download", response_class=StreamingResponse)
def download_version(
    document_id: UUID,
    number: VersionNumber,
    reader: Reader,
    wanted: RequestedRange,
    session: DbSession,
) -> Response:
    """The file or the text of that version, as an attachment; takes Range."""
    return build_attachment(versions.download_version(session, reader, document_id, number), wanted)


@router.post("/{number}/restore", response_model=DocumentWithBody)
def restore_version(
    document_id: UUID,
    number: VersionNumber,
    author: Author,
    if_match: IfMatch,
    session: DbSession,
    response: Response,
) -> Document:
    """Make a new version of an old one; If-Match names the newest."""
    restored = versions.restore_version(session, author, document_id, number, if_match)
    return set_etag(response, restored)


@router.put("/{number}/label", response_model=VersionRead)
def label_version(
    document_id: UUID, number: VersionNumber, new: VersionLabel, author: Author, session: DbSession
) -> Version:
    """Name a version, such as `as signed`."""
    return versions.label_version(session, author, document_id, number, new.label)
