"""Mails and the one-time links in them: written with the act they tell of, delivered by outbox.py.

A link's token is derived from the mail's id when the mail leaves, and only its digest is stored,
so that neither the database nor a log ever has a link that somebody could follow.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from chassis.errors import Gone
from chassis.tracing import get_trace_id

from .. import audit
from ..crypto import tokens
from ..database import autocommit_engine, now
from ..models import Mail
from ..settings import settings
from .texts import EMAIL_TEXTS, EmailKind

MAX_RECENT_EMAILS = 5  # of a kind and to one person: strangers can ask for them
HOUR = timedelta(hours=1)


class InvalidLink(Gone):
    """Used before, expired, replaced or never given: a caller is not told which."""

    def __init__(self) -> None:
        super().__init__("This link was used already or is too old: ask for a new one")


async def queue_email(session: AsyncSession, kind: EmailKind, user_id: UUID) -> None:
    """A mail in this transaction: it is sent if, and only if, what it tells of has happened.

    Not one too many; whoever gets none for that has others, whose links are still good.
    """
    latest = func.now() - (EMAIL_TEXTS[kind].lifetime or HOUR)
    recent = select(func.count()).where(
        Mail.user_id == user_id, Mail.kind == kind, Mail.created_at > latest
    )
    recent = recent.where(Mail.link_used_at.is_(None))
    if (await session.scalar(recent) or 0) < MAX_RECENT_EMAILS:
        session.add(
            Mail(user_id=user_id, kind=kind, variables=describe_request(), trace_id=get_trace_id())
        )


def describe_request() -> dict[str, str]:
    ip, user_agent = audit.get_origin()
    at = f"{now():%Y-%m-%d %H:%M} UTC"
    return {"at": at, "ip": ip or "an unknown address", "device": (user_agent or "unknown")[:200]}


def build_link(mail: Mail) -> str:
    """The link in a mail."""
    return f"{settings.public_url}/auth/{mail.kind}?token={tokens.derive_link_token(mail.id)}"


def start_link_lifetime(session: Session, mail: Mail) -> None:
    """A link's time begins when the mail leaves, however long communication was down."""
    if lifetime := EMAIL_TEXTS[EmailKind(mail.kind)].lifetime:
        digest = tokens.compute_digest(tokens.derive_link_token(mail.id))
        opened = update(Mail).where(Mail.id == mail.id)
        session.execute(opened.values(link_digest=digest, link_expires_at=now() + lifetime))


def select_valid_link(kind: EmailKind, token: str) -> Select[Mail]:
    return select(Mail).where(
        Mail.link_digest == tokens.compute_digest(token),
        Mail.kind == kind,
        Mail.link_expires_at > now(),
        Mail.link_used_at.is_(None),
    )


async def get_link_owner(kind: EmailKind, token: str) -> UUID:
    """Whose link it is. Raises InvalidLink; for before work that a bad link is not worth."""
    async with autocommit_engine.connect() as connection:
        mail = (await connection.execute(select_valid_link(kind, token))).one_or_none()
    if mail is None:
        raise InvalidLink
    return UUID(str(mail.user_id))


async def use_link(session: AsyncSession, kind: EmailKind, token: str) -> None:
    """Its account is locked before, as wherever links are withdrawn. Raises InvalidLink."""
    mail = await session.scalar(select_valid_link(kind, token).with_for_update())
    if mail is None:
        raise InvalidLink
    mail.link_used_at = now()


async def withdraw_links(session: AsyncSession, user_id: UUID, *kinds: EmailKind) -> None:
    """Links that were sent, or will be, open nothing any more."""
    theirs = update(Mail).where(Mail.user_id == user_id, Mail.link_used_at.is_(None))
    await session.execute(theirs.where(Mail.kind.in_(kinds)).values(link_used_at=now()))
