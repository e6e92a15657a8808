"""Share links: made and revoked by who manages the document, opened by anybody who has them."""

import hmac
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBasic

from chassis.pagination import Page, PageRequest

from ..database import DbSession, session_maker
from ..schemas import ShareLinkCreate, ShareLinkCreated, ShareLinkRead
from ..settings import settings
from ..sharing import links
from ..statements import connect_autocommit
from .dependencies import Author, Reader
from .downloads import RequestedRange, build_attachment

router = APIRouter()

LinkToken = Annotated[str, Query(max_length=100)]  # in the query, and so in no log, unlike the path
BASIC_AUTH = HTTPBasic(auto_error=False)


async def get_link_password(request: Request) -> str:
    """Not declared as the route's security: of most links there is nothing to be shown."""
    credentials = await BASIC_AUTH(request)
    return credentials.password if credentials else ""


LinkPassword = Annotated[str, Depends(get_link_password)]

# Nobody keeps a copy, and no page that the document links to hears of the token.
PRIVATE_HEADERS = {"Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer"}


# Takes no Idempotency-Key: the answer would be kept, and with it the token.
@router.post("/documents/{document_id}/share-links", status_code=201)
def create_share_link(
    document_id: UUID, new: ShareLinkCreate, author: Author, session: DbSession
) -> ShareLinkCreated:
    """Make a link that opens the document, or one version of it, without a login."""
    return links.create_link(session, author, document_id, new)


@router.get("/documents/{document_id}/share-links", response_model=Page[ShareLinkRead])
def list_share_links(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """The document's links, newest first, revoked ones included; without their tokens."""
    return links.list_links(session, reader, document_id, page)


@router.delete("/documents/{document_id}/share-links/{link_id}", status_code=204)
def revoke_share_link(document_id: UUID, link_id: UUID, author: Author, session: DbSession) -> None:
    """Have a link open nothing any more, at once."""
    links.revoke_link(session, author, document_id, link_id)


@router.get("/shared", response_class=StreamingResponse)
def open_share_link(
    token: LinkToken, password: LinkPassword, wanted: RequestedRange, request: Request
) -> Response:
    """What a share link opens, as an attachment; its password, if any, goes as HTTP Basic."""
    with connect_autocommit() as connection:
        link_id = links.check_link(connection, token, password)
    with session_maker.begin() as session:  # nothing is used up when there is nothing to show
        answer = build_attachment(
            links.use_link(session, link_id, hash_client_address(request)), wanted
        )
    answer.headers.update(PRIVATE_HEADERS)
    return answer


def hash_client_address(request: Request) -> str:
    """Tells visitors apart, and who has the database only cannot tell who they are."""
    secret = settings.jwt_secret_key.get_secret_value().encode()
    host = request.client.host if request.client else ""
    return hmac.new(secret, f"visitor {host}".encode(), "sha256").hexdigest()
