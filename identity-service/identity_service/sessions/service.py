"""Sessions and their refresh tokens. Each use of a refresh token replaces it (rotation)."""

import secrets
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import with_expression
from uuid_utils.compat import uuid7

from chassis.auth import User
from chassis.clock import now
from chassis.errors import NotFound, Unauthenticated

from .. import audit, change_feed
from ..crypto import tokens
from ..database import CommitOnError
from ..mail import service as mail_service
from ..mail.texts import EmailKind
from ..models import LoginSession, RefreshToken
from ..schemas.tokens import TokenPair
from ..settings import settings
from . import known_devices

MAX_SESSION_AGE = timedelta(days=settings.session_days)
MAX_IDLE_TIME = timedelta(days=settings.session_idle_days)
REFRESH_GRACE_PERIOD = timedelta(seconds=settings.refresh_grace_seconds)

BELONGS_TO_USER = LoginSession.user_id == bindparam("user_id")
IS_EXPIRED = LoginSession.expires_at <= func.now()
OPEN_SESSION_IDS = (
    select(LoginSession.id)
    .where(BELONGS_TO_USER, ~IS_EXPIRED)
    .order_by(LoginSession.last_used_at.desc(), LoginSession.id.desc())
)
IS_SURPLUS = LoginSession.id.in_(OPEN_SESSION_IDS.offset(settings.sessions_per_user))
DELETE_SURPLUS = (
    delete(LoginSession)
    .where(BELONGS_TO_USER, IS_EXPIRED | IS_SURPLUS)
    .returning(LoginSession.id)
    .execution_options(synchronize_session=False)
)


class UnknownSession(NotFound):
    """Raised when the caller has no session of this id."""


class InvalidRefreshToken(CommitOnError, Unauthenticated):
    """Raised for an unknown, expired, reused or revoked token, without saying which."""

    def __init__(self) -> None:
        super().__init__("Invalid or expired refresh token")


async def start_session(session: AsyncSession, user_id: UUID) -> TokenPair:
    """Logs a user in: starts a session and issues its first tokens."""
    audit.record(session, "login.succeeded", actor=user_id, subject=user_id)
    await known_devices.record_device(session, user_id)
    origin = audit.get_origin()._asdict()
    login = LoginSession(id=uuid7(), user_id=user_id, created_at=now(), **origin)
    extend_session(login)
    session.add(login)
    issued = issue_tokens(session, login, secrets.token_urlsafe(32))
    await session.flush()
    await end_surplus_sessions(session, user_id)
    return issued


def extend_session(login: LoginSession) -> None:
    """Moves the end of a session that is used, up to MAX_SESSION_AGE."""
    login.last_used_at = now()
    login.expires_at = min(login.last_used_at + MAX_IDLE_TIME, login.created_at + MAX_SESSION_AGE)


async def end_surplus_sessions(session: AsyncSession, user_id: UUID) -> None:
    """Ends the least recently used sessions beyond SESSIONS_PER_USER."""
    for session_id in (await session.scalars(DELETE_SURPLUS, {"user_id": user_id})).all():
        audit.record(session, "session.ended", subject=user_id, session_id=str(session_id))
        await change_feed.publish_change(session, user_id=user_id, session_id=session_id)


def issue_tokens(session: AsyncSession, login: LoginSession, refresh_token: str) -> TokenPair:
    """Stores the digest of a new refresh token, and pairs it with a new access token."""
    session.add(RefreshToken(digest=tokens.compute_digest(refresh_token), session_id=login.id))
    return build_token_pair(login, refresh_token)


def build_token_pair(login: LoginSession, refresh_token: str) -> TokenPair:
    seconds = tokens.jitter_lifetime(settings.access_token_seconds)
    return TokenPair(
        access_token=tokens.sign_token(tokens.TokenType.ACCESS, login.user_id, login.id, seconds),
        refresh_token=refresh_token,
        expires_in=seconds,
        user_id=login.user_id,
    )


async def rotate_refresh_token(session: AsyncSession, presented: str) -> TokenPair:
    """Ends the session if the token was used before. Raises InvalidRefreshToken."""
    digest = tokens.compute_digest(presented)
    # The row of the session locks all of its tokens. It is always locked first, and only one.
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


async def find_raced_successor(session: AsyncSession, used_at: datetime, token: str) -> str | None:
    """Returns the token issued to a concurrent request, within the grace period and unused."""
    for successor in tokens.derive_successors(token):
        following = await session.get(RefreshToken, tokens.compute_digest(successor))
        is_unused = following is not None and following.used_at is None
        if is_unused and now() - used_at <= REFRESH_GRACE_PERIOD:
            return successor
    return None


async def record_step_up(session: AsyncSession, caller: User) -> None:
    """Notes in the session that the caller has just proved their identity again."""
    current = update(LoginSession).where(LoginSession.id == UUID(caller.session_id))
    await session.execute(current.values(proved_at=now()))


async def require_open_session(session: AsyncSession, caller: User) -> None:
    """Raises InvalidToken if the caller's session has ended while this request was waiting.

    Call it after locking the account, before creating something that outlives sessions.
    """
    current = select(LoginSession.id).where(LoginSession.id == UUID(caller.session_id))
    if await session.scalar(current) is None:
        raise tokens.InvalidToken


async def end_session(session: AsyncSession, login: LoginSession) -> None:
    await session.delete(login)
    await change_feed.publish_change(session, user_id=login.user_id, session_id=login.id)


def select_own_sessions(caller: User) -> Select[Any]:
    """Selects the caller's open sessions, and marks the current one."""
    own = select(LoginSession).where(LoginSession.user_id == UUID(caller.user_id))
    is_current = LoginSession.id == UUID(caller.session_id)
    marked = own.options(with_expression(LoginSession.is_current, is_current))
    return marked.where(LoginSession.expires_at > now())


async def end_own_session(session: AsyncSession, caller: User, session_id: UUID) -> None:
    """Raises UnknownSession, also for a session of another user."""
    chosen = select_own_sessions(caller).where(LoginSession.id == session_id)
    login = await session.scalar(chosen.with_for_update())
    if login is None:
        raise UnknownSession("You have no such session")
    audit.record(
        session, "session.ended", caller=caller, subject=login.user_id, session_id=str(session_id)
    )
    await end_session(session, login)


async def end_all_sessions(
    session: AsyncSession, caller: User | None, user_id: UUID, except_id: str | None = None
) -> None:
    audit.record(session, "sessions.ended", caller=caller, subject=user_id)
    ended = delete(LoginSession).where(LoginSession.user_id == user_id)
    if except_id:
        ended = ended.where(LoginSession.id != UUID(except_id))
    await session.execute(ended)
    await change_feed.publish_change(session, user_id=user_id)
