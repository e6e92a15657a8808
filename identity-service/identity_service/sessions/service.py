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
from ..database import CommitOnError, now
from ..mail import service as mail_service
from ..mail.texts import EmailKind
from ..models import LoginSession, RefreshToken
from ..settings import settings
from . import known_devices

MAX_SESSION_AGE = timedelta(days=settings.session_days)
MAX_IDLE_TIME = timedelta(days=settings.session_idle_days)
REFRESH_GRACE_PERIOD = timedelta(seconds=settings.refresh_grace_seconds)

BELONGS_TO_USER = LoginSession.user_id == bindparam("user_id")
IS_EXPIRED = LoginSession.expires_at <= func.now()
LAST_USED_FIRST = LoginSession.last_used_at.desc(), LoginSession.id.desc()
OPEN_SESSION_IDS = (
    select(LoginSession.id).where(BELONGS_TO_USER, ~IS_EXPIRED).order_by(*LAST_USED_FIRST)
)
IS_SURPLUS = LoginSession.id.in_(OPEN_SESSION_IDS.offset(settings.sessions_per_user))
DELETE_SURPLUS = (
    delete(LoginSession).where(BELONGS_TO_USER, IS_EXPIRED | IS_SURPLUS).returning(LoginSession.id)
)
DELETE_SURPLUS = DELETE_SURPLUS.execution_options(synchronize_session=False)


class InvalidRefreshToken(CommitOnError, Unauthenticated):
    """Unknown, expired, used before or revoked: a caller is not told which."""

    def __init__(self) -> None:
        super().__init__("Invalid or expired refresh token")


async def start_session(session: AsyncSession, user_id: UUID) -> dict[str, Any]:
    """A new session, and the first tokens of its family."""
    await known_devices.record_device(session, user_id)
    ip, user_agent = audit.get_origin()
    login = LoginSession(
        id=uuid7(), user_id=user_id, ip=ip, user_agent=user_agent, created_at=now()
    )
    extend_session(login)
    session.add(login)
    handed_out = issue_tokens(session, login, tokens.generate_refresh_token())
    await session.flush()
    await end_surplus_sessions(session, user_id)
    return handed_out


def extend_session(login: LoginSession) -> None:
    """A session ends when it is not used for a while, and one day in any case."""
    login.last_used_at = now()
    login.expires_at = min(login.last_used_at + MAX_IDLE_TIME, login.created_at + MAX_SESSION_AGE)


async def end_surplus_sessions(session: AsyncSession, user_id: UUID) -> None:
    """Whoever logs in once too often is logged out where they have not been for longest."""
    for session_id in (await session.scalars(DELETE_SURPLUS, {"user_id": user_id})).all():
        audit.record(session, "session.ended", subject=user_id, session_id=str(session_id))
        await change_feed.publish_change(session, user_id=user_id, session_id=session_id)


def issue_tokens(session: AsyncSession, login: LoginSession, refresh_token: str) -> dict[str, Any]:
    session.add(RefreshToken(digest=tokens.compute_digest(refresh_token), session_id=login.id))
    return build_token_pair(login, refresh_token)


def build_token_pair(login: LoginSession, refresh_token: str) -> dict[str, Any]:
    seconds = tokens.jitter_lifetime(settings.access_token_seconds)
    return {
        "access_token": tokens.sign_token(
            tokens.TokenType.ACCESS, login.user_id, login.id, seconds
        ),
        "refresh_token": refresh_token,
        "token_type": "bearer",
        "expires_in": seconds,
        "user_id": login.user_id,
    }


async def rotate_refresh_token(session: AsyncSession, presented: str) -> dict[str, Any]:
    """The next tokens; raises InvalidRefreshToken, and ends the session of a token used twice."""
    digest = tokens.compute_digest(presented)
    # The session's row is the lock of its family: always taken first, never two at once.
    family = select(LoginSession).join(RefreshToken).where(RefreshToken.digest == digest)
    family = family.where(LoginSession.expires_at > now()).with_for_update(of=LoginSession)
    login = await session.scalar(family)
    if login is None:
        raise InvalidRefreshToken
    token = await session.get_one(RefreshToken, digest)
    extend_session(login)
    if token.used_at is None:
        token.used_at = now()
        return issue_tokens(session, login, tokens.derive_successors(presented)[0])
    if successor := await find_raced_successor(session, token.used_at, presented):
        return build_token_pair(login, successor)
    audit.record(session, "session.token_reused", subject=login.user_id, session_id=str(login.id))
    await mail_service.queue_email(session, EmailKind.TOKEN_REUSED, login.user_id)
    await end_session(session, login)
    raise InvalidRefreshToken


async def find_raced_successor(
    session: AsyncSession, used_at: datetime, presented: str
) -> str | None:
    """What the winner got. An honest client may ask twice at once, but not later or gone on."""
    for successor in tokens.derive_successors(presented):
        following = await session.get(RefreshToken, tokens.compute_digest(successor))
        if following and following.used_at is None and now() - used_at <= REFRESH_GRACE_PERIOD:
            return successor
    return None


async def record_step_up(session: AsyncSession, caller: User) -> None:
    """They have just shown that it is them."""
    at_hand = update(LoginSession).where(LoginSession.id == UUID(caller.session_id))
    await session.execute(at_hand.values(proved_at=now()))


async def require_open_session(session: AsyncSession, caller: User) -> None:
    """For what must not outlast their sessions, once they are locked. Raises InvalidToken."""
    at_hand = select(LoginSession.id).where(LoginSession.id == UUID(caller.session_id))
    if await session.scalar(at_hand) is None:
        raise tokens.InvalidToken


async def end_session(session: AsyncSession, login: LoginSession) -> None:
    await session.delete(login)
    await change_feed.publish_change(session, user_id=login.user_id, session_id=login.id)


def select_own_sessions(caller: User) -> Select[Any]:
    """The sessions that are open, with the one at hand marked."""
    theirs = select(LoginSession).where(LoginSession.user_id == UUID(caller.user_id))
    is_current = LoginSession.id == UUID(caller.session_id)
    marked = theirs.options(with_expression(LoginSession.is_current, is_current))
    return marked.where(LoginSession.expires_at > now())


async def end_own_session(session: AsyncSession, caller: User, session_id: UUID) -> None:
    """Raises NotFound for a session of somebody else as for one that is not there."""
    chosen = select_own_sessions(caller).where(LoginSession.id == session_id)
    login = await session.scalar(chosen.with_for_update())
    if login is None:
        raise NotFound("You have no such session")
    audit.record(
        session, "session.ended", caller=caller, subject=login.user_id, session_id=str(session_id)
    )
    await end_session(session, login)


async def end_all_sessions(
    session: AsyncSession, caller: User | None, user_id: UUID, except_session_id: str | None = None
) -> None:
    """Every session of a user, or every other one."""
    audit.record(session, "sessions.ended", caller=caller, subject=user_id)
    theirs = delete(LoginSession).where(LoginSession.user_id == user_id)
    await session.execute(
        theirs.where(LoginSession.id != UUID(except_session_id)) if except_session_id else theirs
    )
    await change_feed.publish_change(session, user_id=user_id)
