"""Permissions: which users and roles may read, write or manage a document.

A level includes the ones before it. The owner always has `manage`.
"""

from typing import Any
from uuid import UUID

from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..access import LevelTooLow, UnknownDocument
from ..database import DbSession
from ..models import ROLE_PREFIX, USER_PREFIX, Grant
from ..schemas.sharing import EffectivePermission, PermissionRead, PermissionWrite
from ..sharing import service
from ..sharing.service import OwnersPermission, UnknownGrantee, UnknownPermission
from .dependencies import Author, Reader
from .grantees import QueriedUser, RoleGrantee, RoleName, UserGrantee

router = APIRouter(prefix="/documents/{document_id}/permissions", tags=["Permissions"])


@router.get("", response_model=Page[PermissionRead])
@raises(UnknownDocument, LevelTooLow)
def list_permissions(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List the users and roles with a permission on the document; includes its owner."""
    return service.list_permissions(session, reader, document_id, page)


@router.get("/effective")
@raises(UnknownDocument, LevelTooLow, UnknownGrantee)
def read_effective_permission(
    document_id: UUID, reader: Reader, person: QueriedUser, session: DbSession
) -> EffectivePermission:
    """Tell what the caller or another user can do with the document now, and why."""
    return service.get_effective_permission(session, reader, document_id, person)


@router.put("/{user_id}", response_model=PermissionRead)
@raises(UnknownDocument, LevelTooLow, UnknownGrantee, OwnersPermission)
def grant_permission(
    document_id: UUID, new: PermissionWrite, author: Author, person: UserGrantee, session: DbSession
) -> Grant:
    """Give a user read, write or manage on the document; replaces what they had."""
    return service.grant_permission(session, author, document_id, person, new)


@router.delete("/{user_id}", status_code=204)
@raises(UnknownDocument, LevelTooLow, UnknownPermission, OwnersPermission)
def revoke_permission(document_id: UUID, user_id: UUID, author: Author, session: DbSession) -> None:
    """Revoke a user's permission on the document; takes effect at once."""
    service.revoke_permission(session, author, document_id, f"{USER_PREFIX}{user_id}")


@router.put("/roles/{role}", response_model=PermissionRead)
@raises(UnknownDocument, LevelTooLow, UnknownGrantee)
def grant_permission_to_role(
    document_id: UUID, new: PermissionWrite, author: Author, role: RoleGrantee, session: DbSession
) -> Grant:
    """Give everyone who has a role, now or later, read, write or manage on the document."""
    return service.grant_permission(session, author, document_id, role, new)


@router.delete("/roles/{role}", status_code=204)
@raises(UnknownDocument, LevelTooLow, UnknownPermission)
def revoke_permission_of_role(
    document_id: UUID, role: RoleName, author: Author, session: DbSession
) -> None:
    """Revoke a role's permission on the document; takes effect at once."""
    service.revoke_permission(session, author, document_id, f"{ROLE_PREFIX}{role}")
