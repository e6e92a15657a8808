"""Audit trail: who did what with a document, and when. Its entries never change.

The trail outlives the document: after a purge, administrators can still read it.
"""

from typing import Any
from uuid import UUID

from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from .. import audit
from ..access import LevelTooLow, UnknownDocument
from ..database import DbSession
from ..schemas.sharing import AuditEntryRead
from .dependencies import Reader

router = APIRouter(tags=["Audit trail"])


@router.get("/documents/{document_id}/audit", response_model=Page[AuditEntryRead])
@raises(UnknownDocument, LevelTooLow)
def list_audit_entries(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List who did what with the document, the latest first."""
    return audit.list_entries(session, reader, document_id, page)
