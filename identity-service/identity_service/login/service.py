"""How people come in: registering and logging in."""

from typing import Any
from uuid import UUID

from sqlalchemy import Executable, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from chassis.auth import User
from chassis.errors import Forbidden, Unauthenticated

from .. import audit
from ..crypto import passwords
from ..database import CommitOnError, autocommit_engine, now
from ..mail import service as mail_service
from ..mail.texts import EmailKind
from ..models import Account, Role
from ..rate_limits import RateLimiter, TooManyAttempts, get_network
from ..schemas.bodies import (
    ChallengeAnswer,
    LoginCredentials,
    Registration,
    StepUpProof,
    UserCreate,
)
from ..sessions import service as session_service
from ..users import service as user_service
from . import second_factors

WRONG_CREDENTIALS = "Wrong email or password"

# Written once: putting a statement together costs more than running it.
SELECT_PASSWORD_HASH = select(Account.id, Account.password_hash)
SELECT_BY_EMAIL = SELECT_PASSWORD_HASH.where(Account.email == bindparam("who"))
SELECT_BY_ID = SELECT_PASSWORD_HASH.where(Account.id == bindparam("who"))
LOCK_UNCHANGED_USER = (
    select(Account.id)
    .where(Account.id == bindparam("user_id"), Account.password_hash == bindparam("old"))
    .where(Account.can_log_in)
    .with_for_update()
)


class WrongCredentials(CommitOnError, Unauthenticated):
    """The same for an unknown address, a wrong password, and somebody deactivated or locked."""


class WrongPassword(CommitOnError, Forbidden):
    """Not a 401: the caller's token is good."""


async def register(session: AsyncSession, new: Registration, password_hash: str) -> Account:
    """Who asks does not learn whether the address has an account already; its owner does."""
    try:
        return await user_service.create_user(
            session, UserCreate(**new.model_dump()), password_hash
        )
    except user_service.EmailTaken:
        owner = await session.scalar(select(Account).where(Account.email == new.email))
        if owner:
            audit.record(session, "user.registered_again", subject=owner.id)
            await mail_service.queue_email(session, EmailKind.ALREADY_REGISTERED, owner.id)
        return build_decoy_account(new)


def build_decoy_account(new: Registration) -> Account:
    """What a new account would look like; it is never saved."""
    return Account(
        **new.model_dump(include={"email", "name"}),
        id=uuid7(),
        role_objects=[Role(name=name) for name in UserCreate.model_fields["roles"].default],
        is_active=True,
        is_verified=False,
        is_service_account=False,
        created_at=now(),
    )


async def log_in(
    session: AsyncSession, limiter: RateLimiter, given: LoginCredentials
) -> dict[str, Any]:
    """The tokens of a new session, or a challenge to whoever has a second factor.

    Raises WrongCredentials and TooManyAttempts; the latter also when the password is right, so
    that nobody learns which it was.
    """
    network = get_network(audit.get_origin()[0])
    if wait := await limiter.get_network_wait(network):
        if await limiter.should_audit_block(network):
            audit.record(session, "login.network_blocked")
        raise TooManyAttempts(WRONG_CREDENTIALS, wait)
    wait = await limiter.count_attempt(given.email, network)
    user_id, is_right = await check_credentials(session, given)
    if wait:
        audit.record(session, "login.blocked", subject=user_id, email=given.email)
    if user_id is None or wait or not is_right:
        await limiter.count_for_network(network)
        raise (
            TooManyAttempts(WRONG_CREDENTIALS, wait)
            if wait
            else WrongCredentials(WRONG_CREDENTIALS)
        )
    await limiter.reset_attempts(given.email, network)
    if await second_factors.is_enabled(session, user_id):
        return await second_factors.create_challenge(session, user_id)
    return await start_session(session, user_id)


async def check_credentials(
    session: AsyncSession, given: LoginCredentials
) -> tuple[UUID | None, bool]:
    """Whose address it is, and if the password is right. It takes as long for nobody's address."""
    user_id, old_hash = await find_password_hash(SELECT_BY_EMAIL, given.email)
    if await passwords.verify_password(old_hash, given.password) and user_id and old_hash:
        newest_hash = await passwords.rehash_if_outdated(old_hash, given.password)
        if await replace_password(session, user_id, old_hash, newest_hash):
            return user_id, True
    audit.record(session, "login.failed", actor=user_id, subject=user_id, email=given.email)
    return user_id, False


async def start_session(session: AsyncSession, user_id: UUID) -> dict[str, Any]:
    audit.record(session, "login.succeeded", actor=user_id, subject=user_id)
    return await session_service.start_session(session, user_id)


async def complete_login(
    session: AsyncSession, limiter: RateLimiter, given: ChallengeAnswer
) -> dict[str, Any]:
    """The tokens of whoever answers the challenge. Raises WrongCode and TooManyAttempts."""
    user_id = await second_factors.answer_challenge(session, limiter, given.challenge, given.code)
    return await start_session(session, user_id)


async def step_up(
    session: AsyncSession, limiter: RateLimiter, caller: User, given: StepUpProof
) -> None:
    """Shows again who is there: with the second factor if there is one, else with the password.

    Raises WrongCode, WrongPassword and TooManyAttempts.
    """
    user_id = UUID(caller.user_id)
    async with autocommit_engine.connect() as connection:
        has_second_factor = await second_factors.is_enabled(connection, user_id)
    if has_second_factor:
        await second_factors.require_code(session, limiter, user_id, given.code or "")
    else:
        await require_password(session, limiter, caller, given.password or "")
    audit.record(session, "session.proved", caller=caller, subject=user_id)
    await session_service.record_step_up(session, caller)


async def require_password(
    session: AsyncSession, limiter: RateLimiter, caller: User, password: str
) -> str:
    """The hash it fits, with no connection held. Raises WrongPassword and TooManyAttempts."""
    user_id = UUID(caller.user_id)
    if wait := await limiter.count_attempt("password", caller.user_id):
        audit.record(session, "password.blocked", caller=caller, subject=user_id)
        raise TooManyAttempts("The password is wrong", wait)
    _, password_hash = await find_password_hash(SELECT_BY_ID, user_id)
    if password_hash is None or not await passwords.verify_password(password_hash, password):
        audit.record(session, "password.failed", caller=caller, subject=user_id)
        raise WrongPassword("The password is wrong")
    await limiter.reset_attempts("password", caller.user_id)
    return password_hash


async def find_password_hash(query: Executable, who: str | UUID) -> tuple[UUID | None, str | None]:
    """Read aside, so that no connection is held while the password waits to be checked."""
    async with autocommit_engine.connect() as connection:
        found = (await connection.execute(query, {"who": who})).one_or_none()
    return (found.id, found.password_hash) if found else (None, None)


async def replace_password(session: AsyncSession, user_id: UUID, old: str, new: str) -> bool:
    """Whether they are let in, and their password is what it was when it was checked: locks it."""
    if await session.scalar(LOCK_UNCHANGED_USER, {"user_id": user_id, "old": old}) is None:
        return False
    if new != old:
        theirs = update(Account).where(Account.id == user_id)
        await session.execute(theirs.values(password_hash=new))
    return True
