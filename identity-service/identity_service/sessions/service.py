"""Sessions and their refresh tokens: one family of tokens per session, rotated at each use."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import with_expression
from uuid_utils.compat import uuid7

from chassis.auth import User
from chassis.errors import NotFound, Unauthenticated

from .. import audit, change_feed
from ..crypto import tokens
from ..database import Refused, now
from ..mail import service as mail
from ..mail.texts import Kind
from ..models import LoginSession, RefreshToken
from ..settings import settings
from . import known_devices

LIFETIME = timedelta(days=settings.session_days)
IDLE = timedelta(days=settings.session_idle_days)
GRACE = timedelta(seconds=settings.refresh_grace_seconds)

IS_THEIRS = LoginSession.user_id == bindparam("user_id")
IS_OVER = LoginSession.expires_at <= func.now()
LATEST_FIRST = LoginSession.last_used_at.desc(), LoginSession.id.desc()
GOOD = select(LoginSession.id).where(IS_THEIRS, ~IS_OVER).order_by(*LATEST_FIRST)
SURPLUS = LoginSession.id.in_(GOOD.offset(settings.sessions_per_user))
END_SURPLUS = delete(LoginSession).where(IS_THEIRS, IS_OVER | SURPLUS).returning(LoginSession.id)
END_SURPLUS = END_SURPLUS.execution_options(synchronize_session=False)


class InvalidRefreshToken(Refused, Unauthenticated):
    """Unknown, expired, used before or revoked: a caller is not told which."""

    def __init__(self) -> None:
        super().__init__("Invalid or expired refresh token")


async def start(session: AsyncSession, user_id: UUID) -> dict[str, Any]:
    """A new session, and the first tokens of its family."""
    await known_devices.notice(session, user_id)
    ip, user_agent = audit.origin()
    login = LoginSession(
        id=uuid7(), user_id=user_id, ip=ip, user_agent=user_agent, created_at=now()
    )
    prolong(login)
    session.add(login)
    handed_out = hand_out(session, login, tokens.new_refresh_token())
    await session.flush()
    await end_surplus(session, user_id)
    return handed_out


def prolong(login: LoginSession) -> None:
    """A session ends when it is not used for a while, and one day in any case."""
    login.last_used_at = now()
    login.expires_at = min(login.last_used_at + IDLE, login.created_at + LIFETIME)


async def end_surplus(session: AsyncSession, user_id: UUID) -> None:
    """Whoever logs in once too often is logged out where they have not been for longest."""
    for session_id in (await session.scalars(END_SURPLUS, {"user_id": user_id})).all():
        audit.record(session, "session.ended", subject=user_id, session_id=str(session_id))
        await change_feed.publish(session, user_id=user_id, session_id=session_id)


def hand_out(session: AsyncSession, login: LoginSession, refresh_token: str) -> dict[str, Any]:
    session.add(RefreshToken(digest=tokens.digest(refresh_token), session_id=login.id))
    return pair(login, refresh_token)


def pair(login: LoginSession, refresh_token: str) -> dict[str, Any]:
    seconds = tokens.jittered(settings.access_token_seconds)
    return {
        "access_token": tokens.issue(tokens.Kind.ACCESS, login.user_id, login.id, seconds),
        "refresh_token": refresh_token,
        "token_type": "bearer",
        "expires_in": seconds,
        "user_id": login.user_id,
    }


async def refresh(session: AsyncSession, presented: str) -> dict[str, Any]:
    """The next tokens; raises InvalidRefreshToken, and ends the session of a token used twice."""
    digest = tokens.digest(presented)
    # The session's row is the lock of its family: always taken first, never two at once.
    family = select(LoginSession).join(RefreshToken).where(RefreshToken.digest == digest)
    family = family.where(LoginSession.expires_at > now()).with_for_update(of=LoginSession)
    login = await session.scalar(family)
    if login is None:
        raise InvalidRefreshToken
    token = await session.get_one(RefreshToken, digest)
    prolong(login)
    if token.used_at is None:
        token.used_at = now()
        return hand_out(session, login, tokens.successors(presented)[0])
    if successor := await lost_a_race(session, token.used_at, presented):
        return pair(login, successor)
    audit.record(session, "session.token_reused", subject=login.user_id, session_id=str(login.id))
    await mail.write(session, Kind.TOKEN_REUSED, login.user_id)
    await end(session, login)
    raise InvalidRefreshToken


async def lost_a_race(session: AsyncSession, used_at: datetime, presented: str) -> str | None:
    """What the winner got. An honest client may ask twice at once, but not later or gone on."""
    for successor in tokens.successors(presented):
        following = await session.get(RefreshToken, tokens.digest(successor))
        if following and following.used_at is None and now() - used_at <= GRACE:
            return successor
    return None


async def prove(session: AsyncSession, by: User) -> None:
    """They have just shown that it is them."""
    at_hand = update(LoginSession).where(LoginSession.id == UUID(by.session_id))
    await session.execute(at_hand.values(proved_at=now()))


async def require_open(session: AsyncSession, by: User) -> None:
    """For what must not outlast their sessions, once they are locked. Raises InvalidToken."""
    at_hand = select(LoginSession.id).where(LoginSession.id == UUID(by.session_id))
    if await session.scalar(at_hand) is None:
        raise tokens.InvalidToken


async def end(session: AsyncSession, login: LoginSession) -> None:
    await session.delete(login)
    await change_feed.publish(session, user_id=login.user_id, session_id=login.id)


def own(by: User) -> Select[Any]:
    """The sessions that are open, with the one at hand marked."""
    theirs = select(LoginSession).where(LoginSession.user_id == UUID(by.user_id))
    is_current = LoginSession.id == UUID(by.session_id)
    marked = theirs.options(with_expression(LoginSession.is_current, is_current))
    return marked.where(LoginSession.expires_at > now())


async def end_own(session: AsyncSession, by: User, session_id: UUID) -> None:
    """Raises NotFound for a session of somebody else as for one that is not there."""
    chosen = own(by).where(LoginSession.id == session_id)
    login = await session.scalar(chosen.with_for_update())
    if login is None:
        raise NotFound("You have no such session")
    audit.record(session, "session.ended", by=by, subject=login.user_id, session_id=str(session_id))
    await end(session, login)


async def end_all(
    session: AsyncSession, by: User | None, user_id: UUID, but: str | None = None
) -> None:
    """Every session of a user, or every other one."""
    audit.record(session, "sessions.ended", by=by, subject=user_id)
    theirs = delete(LoginSession).where(LoginSession.user_id == user_id)
    await session.execute(theirs.where(LoginSession.id != UUID(but)) if but else theirs)
    await change_feed.publish(session, user_id=user_id)
