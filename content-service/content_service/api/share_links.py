"""Share links: created and revoked by a document's managers, opened without a login."""

import hmac
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBasic

from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..database import DbSession, connect_autocommit, session_maker
from ..schemas.share_links import ShareLinkCreate, ShareLinkCreated, ShareLinkRead
from ..settings import Settings
from ..sharing import links
from .dependencies import Author, CurrentSettings, Reader, Storage
from .downloads import RequestedRange, build_attachment

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


# Takes no Idempotency-Key: it would store the answer, and the token in it.
@router.post("/documents/{document_id}/share-links", status_code=201)
def create_share_link(
    document_id: UUID, new: ShareLinkCreate, author: Author, session: DbSession
) -> ShareLinkCreated:
    """Create a link that opens the document, or one version of it, without a login."""
    return links.create_link(session, author, document_id, new)


@router.get("/documents/{document_id}/share-links", response_model=Page[ShareLinkRead])
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
