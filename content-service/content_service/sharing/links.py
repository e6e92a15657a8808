"""Share links: each opens one document, or one version of it, to everyone who has the link.

The token is made here and shown once; only its hash is stored. A use is checked and counted in
one statement, so parallel uses cannot exceed the limit.
"""

import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import ColumnElement, Connection, case, func, or_, select, update
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now
from chassis.errors import Gone, NotFound, TooManyRequests, Unauthenticated
from chassis.pagination import PageParameters, paginate

from .. import audit
from ..access import get_document
from ..documents.versions import get_version
from ..models import Document, Grant, Level, ShareLink, Snapshot, Version
from ..schemas.sharing import ShareLinkCreate, ShareLinkCreated, ShareLinkRead

MINUTE = timedelta(minutes=1)
MAX_TRIES_PER_MINUTE = 60  # of each link
MAX_PASSWORD_TRIES_PER_MINUTE = 10  # of each link with a password
PASSWORD_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # by OWASP
ENDED_MESSAGE = "This share link has expired, was revoked or is used up"


class UnknownShareLink(NotFound):
    """Raised when no link has this token or id, or its document is deleted."""


class ShareLinkEnded(Gone):
    """Raised when a link was revoked, has expired or has no uses left."""


class WrongPassword(Unauthenticated):
    """Raised with the header of HTTP Basic, so that a browser asks for the password."""

    def __init__(self) -> None:
        super().__init__("This link needs a password: send it as HTTP Basic with any user name")
        self.headers["WWW-Authenticate"] = 'Basic realm="share link"'


class TriedTooOften(TooManyRequests):
    """Raised until the minute is over in which a link was tried too often."""


def create_link(
    session: Session, manager: User, document_id: UUID, new: ShareLinkCreate
) -> ShareLinkCreated:
    document = get_document(session, manager, document_id, Level.MANAGE)
    version = None
    if new.policy == "pinned":
        number = new.version or document.version
        version = get_version(session, manager, document_id, number).number
    token = secrets.token_urlsafe(32)
    link = ShareLink(
        document_id=document_id,
        token_hash=hash_token(token),
        password_hash=PASSWORD_HASHER.hash(new.password) if new.password else None,
        version=version,
        expires_at=new.expires_at,
        max_uses=new.max_uses,
        created_by=manager.user_id,
    )
    session.add(link)
    session.flush()
    audit.record(session, manager, document_id, "share.created", link_id=str(link.id))
    shown = ShareLinkRead.model_validate(link).model_dump()
    return ShareLinkCreated(**shown, token=token, url=f"/api/v1/shared?token={token}")


def hash_token(token: str) -> str:
    """Hash a token, without salt: 256 random bits cannot be guessed."""
    return sha256(token.encode()).hexdigest()


def list_links(
    session: Session, manager: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    get_document(session, manager, document_id, Level.MANAGE)
    links = select(ShareLink).where(ShareLink.document_id == document_id)
    return paginate(session, links, page, ShareLink.id)


def revoke_link(session: Session, manager: User, document_id: UUID, link_id: UUID) -> None:
    """Revoke a link, unless it is revoked already."""
    get_document(session, manager, document_id, Level.MANAGE)
    link = session.get(ShareLink, link_id, with_for_update=True)
    if link is None or link.document_id != document_id:
        raise UnknownShareLink("The document has no such share link")
    if link.revoked_at is None:
        link.revoked_at = now()
        audit.record(session, manager, document_id, "share.revoked", link_id=str(link_id))


def revoke_links_of_grantee(session: Session, revoker: User | None, lost: Grant) -> None:
    """Revoke the links of a user who loses `manage`: they could still read through them."""
    if lost.user_id is None or lost.level != Level.MANAGE:
        return
    theirs = update(ShareLink).filter_by(document_id=lost.document_id, created_by=lost.user_id)
    revoked = theirs.where(ShareLink.revoked_at.is_(None)).values(revoked_at=now())
    for link_id in session.scalars(revoked.returning(ShareLink.id)).all():
        audit.record(session, revoker, lost.document_id, "share.revoked", link_id=str(link_id))


def check_link(connection: Connection, token: str, password: str) -> UUID:
    """Count a try, which commits the count, then check the password and return the link's id."""
    is_new_minute = ShareLink.minute < func.now() - MINUTE
    needs_password = ShareLink.password_hash.is_not(None)
    max_tries = case((needs_password, MAX_PASSWORD_TRIES_PER_MINUTE), else_=MAX_TRIES_PER_MINUTE)
    minute = case((is_new_minute, func.now()), else_=ShareLink.minute)
    tries = case((is_new_minute, 1), else_=ShareLink.tries + 1)
    count = update(ShareLink).where(ShareLink.token_hash == hash_token(token), is_open())
    count = count.where(or_(is_new_minute, ShareLink.tries < max_tries))
    count = count.values(minute=minute, tries=tries)
    link = connection.execute(count.returning(ShareLink.id, ShareLink.password_hash)).one_or_none()
    if link is None:
        raise build_link_error(connection, token)
    if link.password_hash is not None and not is_correct_password(link.password_hash, password):
        raise WrongPassword
    link_id: UUID = link.id
    return link_id


def is_open() -> ColumnElement[bool]:
    return (
        ShareLink.revoked_at.is_(None)
        & or_(ShareLink.expires_at.is_(None), ShareLink.expires_at > func.now())
        & or_(ShareLink.max_uses.is_(None), ShareLink.uses < ShareLink.max_uses)
    )


def build_link_error(connection: Connection, token: str) -> Exception:
    opens = connection.scalar(select(is_open()).where(ShareLink.token_hash == hash_token(token)))
    if opens is None:
        return UnknownShareLink("There is no such share link")
    if not opens:
        return ShareLinkEnded(ENDED_MESSAGE)
    headers = {"Retry-After": str(round(MINUTE.total_seconds()))}
    message = "This share link was tried too often; try it again in a minute"
    return TriedTooOften(message, headers=headers)


def is_correct_password(password_hash: str, password: str) -> bool:
    try:
        return PASSWORD_HASHER.verify(password_hash, password)
    except VerifyMismatchError:
        return False


def use_link(session: Session, link_id: UUID, ip_hash: str) -> Snapshot:
    """Count a use and return what the link opens; parallel uses wait for the row's lock."""
    count = update(ShareLink).where(ShareLink.id == link_id, is_open())
    link = session.scalar(count.values(uses=ShareLink.uses + 1).returning(ShareLink))
    if link is None:
        raise ShareLinkEnded(ENDED_MESSAGE)
    document = session.get(Document, link.document_id)
    if document is None or document.deleted_at is not None:
        raise UnknownShareLink("There is no such share link")
    number = link.version or document.version
    facts = {"link_id": str(link_id), "ip_hash": ip_hash, "version": number}
    audit.record(session, None, document.id, "share.opened", **facts)
    return session.get_one(Version, (document.id, number)) if link.version else document
