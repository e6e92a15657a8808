"""Permissions on a document, and its audit trail."""

from typing import Any
from uuid import UUID

from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from .. import audit
from ..database import DbSession
from ..models import ROLE_PREFIX, USER_PREFIX, Grant
from ..schemas.audit import AuditEntryRead
from ..schemas.sharing import EffectivePermission, PermissionRead, PermissionWrite
from ..sharing import service
from .dependencies import Author, Reader
from .grantees import QueriedUser, RoleGrantee, RoleName, UserGrantee

router = APIRouter(prefix="/documents/{document_id}")


@router.get("/permissions", response_model=Page[PermissionRead])
def list_permissions(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List the users and roles with a permission on the document; includes its owner."""
    return service.list_permissions(session, reader, document_id, page)


@router.get("/permissions/effective")
def read_effective_permission(
    document_id: UUID, reader: Reader, person: QueriedUser, session: DbSession
) -> EffectivePermission:
    """Tell what the caller or another user can do with the document now, and why."""
    return service.get_effective_permission(session, reader, document_id, person)


@router.put("/permissions/{user_id}", response_model=PermissionRead)
def grant_permission(
    document_id: UUID, new: PermissionWrite, author: Author, person: UserGrantee, session: DbSession
) -> Grant:
    """Give a user read, write or manage on the document; replaces what they had."""
    return service.grant_permission(session, author, document_id, person, new)


@router.delete("/permissions/{user_id}", status_code=204)
def revoke_permission(document_id: UUID, user_id: UUID, author: Author, session: DbSession) -> None:
    """Revoke a user's permission on the document; takes effect at once."""
    service.revoke_permission(session, author, document_id, f"{USER_PREFIX}{user_id}")


@router.put("/permissions/roles/{role}", response_model=PermissionRead)
def grant_permission_to_role(
    document_id: UUID, new: PermissionWrite, author: Author, role: RoleGrantee, session: DbSession
) -> Grant:
    """Give everyone who has a role, now or later, read, write or manage on the document."""
    return service.grant_permission(session, author, document_id, role, new)


@router.delete("/permissions/roles/{role}", status_code=204)
def revoke_permission_of_role(
    document_id: UUID, role: RoleName, author: Author, session: DbSession
) -> None:
    """Revoke a role's permission on the document; takes effect at once."""
    service.revoke_permission(session, author, document_id, f"{ROLE_PREFIX}{role}")


@router.get("/audit", response_model=Page[AuditEntryRead])
def list_audit_entries(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List who did what with the document, the latest first."""

    return audit.list_entries(session, reader, document_id, page)
