"""Permissions on a document, and its audit trail: for those who may manage it."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from chassis.pagination import Page, PageRequest

from .. import audit, sharing
from ..database import DbSession
from ..models import Access
from ..schemas import AuditEntryRead, PermissionRead, PermissionWrite
from .dependencies import Author, Reader

router = APIRouter(prefix="/documents/{document_id}")


@router.get("/permissions", response_model=Page[PermissionRead])
def list_permissions(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """Everybody with a permission on the document, its owner included."""
    return sharing.list_permissions(session, reader, document_id, page)


@router.put("/permissions/{user_id}", response_model=PermissionRead)
def grant_permission(
    document_id: UUID,
    new: PermissionWrite,
    author: Author,
    recipient: sharing.Recipient,
    session: DbSession,
) -> Access:
    """Give a person read, write or manage on the document, in place of what they had."""
    return sharing.grant(session, author, document_id, recipient, new.level)


@router.delete("/permissions/{user_id}", status_code=204)
def revoke_permission(document_id: UUID, user_id: UUID, author: Author, session: DbSession) -> None:
    """Take a person's permission on the document away, at once."""
    sharing.revoke(session, author, document_id, str(user_id))


@router.get("/audit", response_model=Page[AuditEntryRead])
def list_audit_entries(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """Who did what to the document, newest first."""
    return audit.list_entries(session, reader, document_id, page)
