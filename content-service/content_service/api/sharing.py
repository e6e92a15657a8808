"""Permissions on a document, and its audit trail: for those who may manage it."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from chassis.pagination import Page, PageRequest

from .. import audit
from ..database import DbSession
from ..models import ROLE_PREFIX, USER_PREFIX, Grant
from ..schemas import AuditEntryRead, EffectivePermission, PermissionRead, PermissionWrite
from ..sharing import service
from .dependencies import Author, Reader
from .grantees import QueriedUser, RoleGrantee, RoleName, UserGrantee

router = APIRouter(prefix="/documents/{document_id}")


@router.get("/permissions", response_model=Page[PermissionRead])
def list_permissions(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """Every person and role with a permission on the document, its owner included."""
    return service.list_permissions(session, reader, document_id, page)


@router.get("/permissions/effective")
def read_effective_permission(
    document_id: UUID, reader: Reader, person: QueriedUser, session: DbSession
) -> EffectivePermission:
    """What the caller, or another person, can do with the document now, and why."""
    return service.get_effective_permission(session, reader, document_id, person)


@router.put("/permissions/{user_id}", response_model=PermissionRead)
def grant_permission(
    document_id: UUID, new: PermissionWrite, author: Author, person: UserGrantee, session: DbSession
) -> Grant:
    """Give a person read, write or manage on the document, in place of what they had."""
    return service.grant_permission(session, author, document_id, person, new)


@router.delete("/permissions/{user_id}", status_code=204)
def revoke_permission(document_id: UUID, user_id: UUID, author: Author, session: DbSession) -> None:
    """Take a person's permission on the document away, at once."""
    service.revoke_permission(session, author, document_id, f"{USER_PREFIX}{user_id}")


@router.put("/permissions/roles/{role}", response_model=PermissionRead)
def grant_permission_to_role(
    document_id: UUID, new: PermissionWrite, author: Author, role: RoleGrantee, session: DbSession
) -> Grant:
    """Give everybody with a role, now or later, read, write or manage on the document."""
    return service.grant_permission(session, author, document_id, role, new)


@router.delete("/permissions/roles/{role}", status_code=204)
def revoke_permission_of_role(
    document_id: UUID, role: RoleName, author: Author, session: DbSession
) -> None:
    """Take a role's permission on the document away, at once."""
    service.revoke_permission(session, author, document_id, f"{ROLE_PREFIX}{role}")


@router.get("/audit", response_model=Page[AuditEntryRead])
def list_audit_entries(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """Who did what to the document, newest first."""
    return audit.list_entries(session, reader, document_id, page)
