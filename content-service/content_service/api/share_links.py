"""Share links: each opens a document, or one version of it, to everyone who has the link.

A link can have a password, an end and a number of uses, and can be revoked.
"""

import hmac
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from chassis.errors import Unauthenticated
from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from ..access import LevelTooLow, UnknownDocument
from ..database import DbSession, connect_autocommit, session_maker
from ..documents.versions import UnknownVersion
from ..schemas.sharing import ShareLinkCreate, ShareLinkCreated, ShareLinkRead
from ..settings import Settings
from ..sharing import links
from ..sharing.links import ShareLinkEnded, TriedTooOften, UnknownShareLink, WrongPassword
from .dependencies import Author, CurrentSettings, Reader, Storage
from .downloads import DOWNLOAD_RESPONSES, RequestedRange, build_attachment

router = APIRouter(tags=["Share links"])

# Logs contain the path, but not the query.
LinkToken = Annotated[str, Query(max_length=100, description="The `token` of the link.")]
PASSWORD_LOGIN = HTTPBasic(
    scheme_name="LinkPassword",
    description="The password of a share link, with any user name.",
    auto_error=False,
)


@raises(Unauthenticated)
async def get_link_password(
    credentials: Annotated[HTTPBasicCredentials | None, Depends(PASSWORD_LOGIN)],
) -> str:
    return credentials.password if credentials else ""


LinkPassword = Annotated[str, Depends(get_link_password)]

# No proxy keeps a copy, and no page that the document links to learns the token.
PRIVATE_HEADERS = {"Cache-Control": "private, no-store", "Referrer-Policy": "no-referrer"}


# Takes no Idempotency-Key: it would store the answer, and the token in it.
@router.post("/documents/{document_id}/share-links", status_code=201)
@raises(UnknownDocument, LevelTooLow, UnknownVersion)
def create_share_link(
    document_id: UUID, new: ShareLinkCreate, author: Author, session: DbSession
) -> ShareLinkCreated:
    """Create a link that opens the document, or one version of it, without a login."""
    return links.create_link(session, author, document_id, new)


@router.get("/documents/{document_id}/share-links", response_model=Page[ShareLinkRead])
@raises(UnknownDocument, LevelTooLow)
def list_share_links(
    document_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """List the document's links without their tokens, the newest first; includes revoked ones."""
    return links.list_links(session, reader, document_id, page)


@router.delete("/documents/{document_id}/share-links/{link_id}", status_code=204)
@raises(UnknownDocument, LevelTooLow, UnknownShareLink)
def revoke_share_link(document_id: UUID, link_id: UUID, author: Author, session: DbSession) -> None:
    """Revoke a link: it opens nothing from now on."""
    links.revoke_link(session, author, document_id, link_id)


@router.get(
    "/shared",
    response_class=StreamingResponse,
    responses=DOWNLOAD_RESPONSES,
    openapi_extra={"security": [{}]},  # most links have no password
)
@raises(UnknownShareLink, ShareLinkEnded, WrongPassword, TriedTooOften)
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
