"""Emails and the one-time links in them: queued in the transaction that causes them.

outbox.py delivers them. The token of a link is derived from the email's id when the email is
delivered, and only its digest is stored, so neither the database nor a log has a usable link.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from chassis.clock import now
from chassis.errors import Gone

from .. import audit
from ..crypto import tokens
from ..database import autocommit_engine
from ..models import Mail
from ..settings import settings
from .texts import EMAIL_TEXTS, EmailKind

MAX_RECENT_EMAILS = 5  # per user and kind, because anyone can request them
RECENT_WITHOUT_LINK = timedelta(hours=1)  # emails with a link are recent while it is valid


class InvalidLink(Gone):
    """Raised for a used, expired, replaced or unknown link, without saying which."""

    def __init__(self) -> None:
        super().__init__("This link was already used or has expired; please request a new one")


async def queue_email(session: AsyncSession, kind: EmailKind, user_id: UUID) -> None:
    """Does nothing beyond MAX_RECENT_EMAILS: the user has other emails with links that work."""
    since = func.now() - (EMAIL_TEXTS[kind].link_lifetime or RECENT_WITHOUT_LINK)
    mails = select(func.count()).where(Mail.user_id == user_id, Mail.kind == kind)
    recent = mails.where(Mail.created_at > since, Mail.link_used_at.is_(None))
    if (await session.scalar(recent) or 0) < MAX_RECENT_EMAILS:
        session.add(Mail(user_id=user_id, kind=kind, variables=describe_request()))


def describe_request() -> dict[str, str]:
    """Returns the variables of the email texts that say when and from where it happened."""
    ip, user_agent = audit.get_origin()
    at = f"{now():%Y-%m-%d %H:%M} UTC"
    return {"at": at, "ip": ip or "unknown", "device": (user_agent or "unknown")[:200]}


def build_link(mail: Mail) -> str:
    return f"{settings.public_url}/auth/{mail.kind}?token={tokens.derive_link_token(mail.id)}"


def start_link_lifetime(session: Session, mail: Mail) -> None:
    """Starts the lifetime of a link at delivery, which may be long after it was queued."""
    if lifetime := EMAIL_TEXTS[EmailKind(mail.kind)].link_lifetime:
        digest = tokens.compute_digest(tokens.derive_link_token(mail.id))
        row = update(Mail).where(Mail.id == mail.id)
        session.execute(row.values(link_digest=digest, link_expires_at=now() + lifetime))


def select_valid_link(kind: EmailKind, token: str) -> Select[Mail]:
    mails = select(Mail).where(Mail.kind == kind, Mail.link_digest == tokens.compute_digest(token))
    return mails.where(Mail.link_expires_at > now(), Mail.link_used_at.is_(None))


async def get_link_owner(kind: EmailKind, token: str) -> UUID:
    """Returns whose valid link it is, before costly work such as hashing. Raises InvalidLink."""
    async with autocommit_engine.connect() as connection:
        mail = (await connection.execute(select_valid_link(kind, token))).one_or_none()
    if mail is None:
        raise InvalidLink
    return UUID(str(mail.user_id))


async def use_link(session: AsyncSession, kind: EmailKind, token: str) -> None:
    """Marks a link as used; lock its account first. Raises InvalidLink."""
    mail = await session.scalar(select_valid_link(kind, token).with_for_update())
    if mail is None:
        raise InvalidLink
    mail.link_used_at = now()


async def withdraw_links(session: AsyncSession, user_id: UUID, *kinds: EmailKind) -> None:
    """Makes links invalid, including those of emails that are still queued."""
    mails = update(Mail).where(Mail.user_id == user_id, Mail.link_used_at.is_(None))
    await session.execute(mails.where(Mail.kind.in_(kinds)).values(link_used_at=now()))
