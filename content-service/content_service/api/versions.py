"""Versions: every state a document had."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path

from chassis.pagination import Page, PageRequest

from .. import versions
from ..database import DbSession
from ..models import Version
from ..schemas import VersionRead, VersionWithBody
from .dependencies import Reader

router = APIRouter(prefix="/documents/{document_id}/versions")


@router.get("", response_model=Page[VersionRead])
def list_versions(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """The versions of a document, newest first."""
    return versions.list_versions(session, reader, document_id, page)


@router.get("/{number}", response_model=VersionWithBody)
def read_version(
    document_id: UUID,
    number: Annotated[int, Path(ge=1, le=2**31 - 1)],
    reader: Reader,
    session: DbSession,
) -> Version:
    """One version of a document, whole."""
    return versions.find_version(session, reader, document_id, number)
