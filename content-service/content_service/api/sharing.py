"""Permissions on a document, its share links and its audit trail."""

import hmac
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBasic

from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from .. import audit
from ..database import DbSession, connect_autocommit, session_maker
from ..models import ROLE_PREFIX, USER_PREFIX, Grant
from ..schemas import sharing as schemas
from ..schemas.sharing import PermissionRead, PermissionWrite
from ..settings import Settings
from ..sharing import links, service
from .dependencies import Author, CurrentSettings, Reader, Storage
from .downloads import RequestedRange, build_attachment
from .grantees import QueriedUser, RoleGrantee, RoleName, UserGrantee

router = APIRouter()

LinkToken = Annotated[str, Query(max_length=100)]  # logs contain the path, but not the query
BASIC_AUTH = HTTPBasic(auto_error=False)


async def get_link_password(request: Request) -> str:
    """Read the password without declaring a login: most links have no password."""
    credentials = await BASIC_AUTH(request)
    return credentials.password if credentials else ""


LinkPassword = Annotated[str, Depends(get_link_password)]

# No proxy keeps a copy, and no page that the document links to learns the token.
PRIVATE_HEADERS = {"Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer"}


@router.get("/documents/{document_id}/permissions", response_model=Page[PermissionRead])
def list_permissions(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List the users and roles with a permission on the document; includes its owner."""
    return service.list_permissions(session, reader, document_id, page)


@router.get("/documents/{document_id}/permissions/effective")
def read_effective_permission(
    document_id: UUID, reader: Reader, person: QueriedUser, session: DbSession
) -> schemas.EffectivePermission:
    """Tell what the caller or another user can do with the document now, and why."""
    return service.get_effective_permission(session, reader, document_id, person)


@router.put("/documents/{document_id}/permissions/{user_id}", response_model=PermissionRead)
def grant_permission(
    document_id: UUID, new: PermissionWrite, author: Author, person: UserGrantee, session: DbSession
) -> Grant:
    """Give a user read, write or manage on the document; replaces what they had."""
    return service.grant_permission(session, author, document_id, person, new)


@router.delete("/documents/{document_id}/permissions/{user_id}", status_code=204)
def revoke_permission(document_id: UUID, user_id: UUID, author: Author, session: DbSession) -> None:
    """Revoke a user's permission on the document; takes effect at once."""
    service.revoke_permission(session, author, document_id, f"{USER_PREFIX}{user_id}")


@router.put("/documents/{document_id}/permissions/roles/{role}", response_model=PermissionRead)
def grant_permission_to_role(
    document_id: UUID, new: PermissionWrite, author: Author, role: RoleGrantee, session: DbSession
) -> Grant:
    """Give everyone who has a role, now or later, read, write or manage on the document."""
    return service.grant_permission(session, author, document_id, role, new)


@router.delete("/documents/{document_id}/permissions/roles/{role}", status_code=204)
def revoke_permission_of_role(
    document_id: UUID, role: RoleName, author: Author, session: DbSession
) -> None:
    """Revoke a role's permission on the document; takes effect at once."""
    service.revoke_permission(session, author, document_id, f"{ROLE_PREFIX}{role}")


# Takes no Idempotency-Key: it would store the answer, and the token in it.
@router.post("/documents/{document_id}/share-links", status_code=201)
def create_share_link(
    document_id: UUID, new: schemas.ShareLinkCreate, author: Author, session: DbSession
) -> schemas.ShareLinkCreated:
    """Create a link that opens the document, or one version of it, without a login."""
    return links.create_link(session, author, document_id, new)


@router.get("/documents/{document_id}/share-links", response_model=Page[schemas.ShareLinkRead])
def list_share_links(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List the document's links without their tokens, the newest first; includes revoked ones."""
    return links.list_links(session, reader, document_id, page)


@router.delete("/documents/{document_id}/share-links/{link_id}", status_code=204)
def revoke_share_link(document_id: UUID, link_id: UUID, author: Author, session: DbSession) -> None:
    """Revoke a link: it opens nothing from now on."""
    links.revoke_link(session, author, document_id, link_id)


@router.get("/shared", response_class=StreamingResponse)
def open_share_link(
    token: LinkToken,
    password: LinkPassword,
    requested: RequestedRange,
    storage: Storage,
    settings: CurrentSettings,
    request: Request,
) -> Response:
    """Download what a share link opens; send its password, if it has one, as HTTP Basic."""
    with connect_autocommit() as connection:
        link_id = links.check_link(connection, token, password)
    with session_maker.begin() as session:  # if the download fails, the use is not counted
        snapshot = links.use_link(session, link_id, hash_client_address(request, settings))
        answer = build_attachment(snapshot, requested, storage)
    answer.headers.update(PRIVATE_HEADERS)
    return answer


def hash_client_address(request: Request, settings: Settings) -> str:
    """Tell visitors apart without storing an address: the hash needs the service's secret."""
    secret = settings.jwt_secret_key.get_secret_value().encode()
    host = request.client.host if request.client else ""
    return hmac.new(secret, f"visitor {host}".encode(), "sha256").hexdigest()


@router.get("/documents/{document_id}/audit", response_model=Page[schemas.AuditEntryRead])
def list_audit_entries(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List who did what with the document, the latest first."""
    return audit.list_entries(session, reader, document_id, page)
