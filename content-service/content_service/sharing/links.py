"""Share links: each opens one document, or one version of it, to whoever has the link.

The token is made here, shown once and kept as a hash. What somebody does with a link is decided
in single statements: however many open it at once, there is one use for each that was counted.
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
from chassis.errors import Gone, NotFound, TooManyRequests, Unauthenticated
from chassis.pagination import PageParameters, paginate

from .. import audit
from ..access import get_document
from ..documents.versions import get_version
from ..models import Document, Grant, Level, ShareLink, Snapshot, Version, now
from ..schemas import ShareLinkCreate, ShareLinkCreated, ShareLinkRead

MINUTE = timedelta(minutes=1)
MAX_TRIES_PER_MINUTE, MAX_PASSWORD_TRIES_PER_MINUTE = (
    60,
    10,
)  # a minute and link; guesses, where there is a password to guess
PASSWORD_HASHER = PasswordHasher(
    time_cost=2, memory_cost=19 * 1024, parallelism=1
)  # as OWASP has it


class UnknownShareLink(NotFound):
    """No link has this token or id, or its document is gone."""


class ShareLinkEnded(Gone):
    """It was revoked, has expired or was used as often as it may be."""


class WrongPassword(Unauthenticated):
    """In the words of HTTP, so that a browser asks for it."""

    def __init__(self) -> None:
        super().__init__("This link needs its password, as that of HTTP Basic with any user name")
        self.headers["WWW-Authenticate"] = 'Basic realm="share link"'


class TriedTooOften(TooManyRequests):
    """For the minute."""


def create_link(
    session: Session, manager: User, document_id: UUID, new: ShareLinkCreate
) -> ShareLinkCreated:
    document = get_document(session, manager, document_id, Level.MANAGE)
    token = secrets.token_urlsafe(32)
    link = ShareLink(
        document_id=document_id,
        token_hash=hash_token(token),
        password_hash=PASSWORD_HASHER.hash(new.password) if new.password else None,
        version=get_pinned_version(session, manager, document, new),
        expires_at=new.expires_at,
        max_uses=new.max_uses,
        created_by=manager.user_id,
    )
    session.add(link)
    session.flush()
    audit.record(session, manager, document_id, "share.created", link_id=str(link.id))
    shown = ShareLinkRead.model_validate(link, from_attributes=True).model_dump()
    return ShareLinkCreated(**shown, token=token, url=f"/api/v1/shared?token={token}")


def get_pinned_version(
    session: Session, manager: User, document: Document, new: ShareLinkCreate
) -> int | None:
    """Raises UnknownVersion."""
    if new.policy == "latest":
        return None
    number = new.version or document.version
    return get_version(session, manager, document.id, number).number


def hash_token(token: str) -> str:
    """Without salt: nobody can guess at 256 random bits."""
    return sha256(token.encode()).hexdigest()


def list_links(
    session: Session, manager: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    get_document(session, manager, document_id, Level.MANAGE)
    links = select(ShareLink).where(ShareLink.document_id == document_id)
    return paginate(session, links, page, ShareLink.id)


def revoke_link(session: Session, manager: User, document_id: UUID, link_id: UUID) -> None:
    """Revoked once more, it stays revoked since the first time."""
    get_document(session, manager, document_id, Level.MANAGE)
    link = session.get(ShareLink, link_id, with_for_update=True)
    if link is None or link.document_id != document_id:
        raise UnknownShareLink("The document has no such share link")
    if link.revoked_at is None:
        link.revoked_at = now()
        audit.record(session, manager, document_id, "share.revoked", link_id=str(link_id))


def revoke_links_of_grantee(session: Session, revoker: User | None, lost: Grant) -> None:
    """With the permission by which somebody made them: they would go on reading through them."""
    if lost.user_id is None or lost.level != Level.MANAGE:
        return
    theirs = update(ShareLink).filter_by(document_id=lost.document_id, created_by=lost.user_id)
    revoked = theirs.where(ShareLink.revoked_at.is_(None)).values(revoked_at=now())
    for link_id in session.scalars(revoked.returning(ShareLink.id)).all():
        audit.record(session, revoker, lost.document_id, "share.revoked", link_id=str(link_id))


def check_link(connection: Connection, token: str, password: str) -> UUID:
    """The link's id, once the try was counted and the password is right.

    Committed before the password is looked at, so that guesses are counted however they end.
    """
    is_new_minute = ShareLink.minute < func.now() - MINUTE
    most = case(
        (ShareLink.password_hash.is_(None), MAX_TRIES_PER_MINUTE),
        else_=MAX_PASSWORD_TRIES_PER_MINUTE,
    )
    count = (
        update(ShareLink)
        .where(ShareLink.token_hash == hash_token(token), is_open())
        .where(or_(is_new_minute, ShareLink.tries < most))
        .values(
            minute=case((is_new_minute, func.now()), else_=ShareLink.minute),
            tries=case((is_new_minute, 1), else_=ShareLink.tries + 1),
        )
    )
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
        return ShareLinkEnded("This share link has expired, was revoked or is used up")
    headers = {"Retry-After": str(round(MINUTE.total_seconds()))}
    return TriedTooOften("This share link was tried too often in this minute", headers=headers)


def is_correct_password(password_hash: str, password: str) -> bool:
    try:
        return PASSWORD_HASHER.verify(password_hash, password)
    except VerifyMismatchError:
        return False


def use_link(session: Session, link_id: UUID, ip_hash: str) -> Snapshot:
    """What the link opens. Parallel uses wait for the row, and the last finds none left."""
    count = update(ShareLink).where(ShareLink.id == link_id, is_open())
    link = session.scalar(count.values(uses=ShareLink.uses + 1).returning(ShareLink))
    if link is None:
        raise ShareLinkEnded("This share link has expired, was revoked or is used up")
    document = session.get(Document, link.document_id)
    if document is None or document.deleted_at is not None:
        raise UnknownShareLink("There is no such share link")
    number = link.version or document.version
    facts = {"link_id": str(link_id), "ip_hash": ip_hash, "version": number}
    audit.record(session, None, document.id, "share.opened", **facts)
    return session.get_one(Version, (document.id, number)) if link.version else document
