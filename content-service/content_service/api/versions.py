"""Versions: every state that a document has had. They never change, except for their label."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Path, Response
from fastapi.responses import StreamingResponse

from chassis.openapi import raises, sends
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..access import LevelTooLow, UnknownDocument
from ..database import DbSession
from ..documents import versions
from ..documents.versions import UnknownVersion
from ..models import Document, Version
from ..schemas.documents import DocumentWithBody, VersionLabel, VersionRead, VersionWithBody
from .dependencies import Author, IfMatch, Reader, Storage
from .documents import set_etag
from .downloads import DOWNLOAD_RESPONSES, RequestedRange, build_attachment

router = APIRouter(prefix="/documents/{document_id}/versions", tags=["Versions"])

VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1, description="The first version is 1.")]


@router.get("", response_model=Page[VersionRead])
@raises(UnknownDocument)
def list_versions(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List the versions of a document, the newest first."""
    return versions.list_versions(session, reader, document_id, page)


@router.get("/{number}", response_model=VersionWithBody)
@raises(UnknownDocument, UnknownVersion)
def read_version(
    document_id: UUID, number: VersionNumber, reader: Reader, session: DbSession
) -> Version:
    """Return one version of a document, with its text."""
    return versions.get_version(session, reader, document_id, number)


@router.get("/{number}/download", response_class=StreamingResponse, responses=DOWNLOAD_RESPONSES)
@raises(UnknownDocument, UnknownVersion)
def download_version(
    document_id: UUID,
    number: VersionNumber,
    reader: Reader,
    requested: RequestedRange,
    session: DbSession,
    storage: Storage,
) -> Response:
    """Download the file or text of a version, as an attachment; supports Range."""
    version = versions.download_version(session, reader, document_id, number)
    return build_attachment(version, requested, storage)


@router.post("/{number}/restore", response_model=DocumentWithBody)
@raises(UnknownDocument, LevelTooLow, UnknownVersion)
@sends("ETag")
def restore_version(
    document_id: UUID,
    number: VersionNumber,
    author: Author,
    if_match: IfMatch,
    session: DbSession,
    response: Response,
) -> Document:
    """Copy an old version to a new one, which becomes the current one."""
    restored = versions.restore_version(session, author, document_id, number, if_match)
    return set_etag(response, restored)


@router.put("/{number}/label", response_model=VersionRead)
@raises(UnknownDocument, LevelTooLow, UnknownVersion)
def label_version(
    document_id: UUID, number: VersionNumber, new: VersionLabel, author: Author, session: DbSession
) -> Version:
    """Set the label of a version, such as `as signed`, or remove it with null."""
    return versions.label_version(session, author, document_id, number, new.label)
