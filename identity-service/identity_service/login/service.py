"""Registering, logging in with a password and a second factor, and proving one's identity again."""

from uuid import UUID

from sqlalchemy import Executable, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from chassis.auth import User
from chassis.clock import now
from chassis.errors import Forbidden, Unauthenticated

from .. import audit
from ..crypto import passwords
from ..database import CommitOnError, autocommit_engine
from ..mail import service as mail_service
from ..mail.texts import EmailKind
from ..models import Account, Role
from ..rate_limits import RateLimiter, TooManyAttempts, get_network
from ..schemas.login import ChallengeAnswer, ChallengeRead, LoginCredentials, StepUpProof
from ..schemas.tokens import TokenPair
from ..schemas.users import Registration, UserCreate
from ..sessions import service as session_service
from ..users import service as user_service
from . import second_factors

WRONG_CREDENTIALS = "Wrong email or password"
WRONG_PASSWORD = "The password is wrong"

# Built once, because building a statement costs more than running it.
SELECT_PASSWORD_HASH = select(Account.id, Account.password_hash)
SELECT_BY_EMAIL = SELECT_PASSWORD_HASH.where(Account.email == bindparam("key"))
SELECT_BY_ID = SELECT_PASSWORD_HASH.where(Account.id == bindparam("key"))
LOCK_UNCHANGED_USER = (
    select(Account.id)
    .where(Account.id == bindparam("user_id"), Account.password_hash == bindparam("old"))
    .where(Account.can_log_in)
    .with_for_update()
)


class WrongCredentials(CommitOnError, Unauthenticated):
    """Raised for an unknown email, a wrong password, or a deactivated or locked account."""


class WrongPassword(CommitOnError, Forbidden):
    """Raised for a wrong password of a caller whose token is valid: the login stays."""


async def register(session: AsyncSession, new: Registration, password_hash: str) -> Account:
    """Responds alike whether the email is taken or not; only its owner learns that it is."""
    user = UserCreate(**new.model_dump())
    try:
        return await user_service.create_user(session, user, password_hash)
    except user_service.EmailTaken:
        owner = await session.scalar(select(Account).where(Account.email == new.email))
        if owner:
            audit.record(session, "user.registered_again", subject=owner.id)
            await mail_service.queue_email(session, EmailKind.ALREADY_REGISTERED, owner.id)
        return build_decoy_account(new)


def build_decoy_account(new: Registration) -> Account:
    """Builds an account that looks like a new one and is never saved."""
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
    session: AsyncSession, limiter: RateLimiter, credentials: LoginCredentials
) -> TokenPair | ChallengeRead:
    """Raises WrongCredentials; TooManyAttempts for a right password too, so it reveals nothing."""
    network = get_network(audit.get_origin().ip)
    if wait := await limiter.get_network_wait(network):
        if await limiter.should_audit_block(network):
            audit.record(session, "login.network_blocked")
        raise TooManyAttempts(wait)
    wait = await limiter.count_attempt(credentials.email, network)
    user_id, is_right = await check_credentials(session, credentials)
    if wait:
        audit.record(session, "login.blocked", subject=user_id, email=credentials.email)
        await limiter.count_for_network(network)
        raise TooManyAttempts(wait)
    if user_id is None or not is_right:
        await limiter.count_for_network(network)
        raise WrongCredentials(WRONG_CREDENTIALS)
    await limiter.reset_attempts(credentials.email, network)
    if await second_factors.is_enabled(session, user_id):
        return await second_factors.create_challenge(session, user_id)
    return await session_service.start_session(session, user_id)


async def check_credentials(
    session: AsyncSession, credentials: LoginCredentials
) -> tuple[UUID | None, bool]:
    """Returns the email's user and whether the password is right; unknown emails take as long."""
    user_id, old_hash = await find_password_hash(SELECT_BY_EMAIL, credentials.email)
    if await passwords.verify_password(old_hash, credentials.password) and user_id and old_hash:
        new_hash = await passwords.rehash_if_outdated(old_hash, credentials.password)
        if await replace_password(session, user_id, old_hash, new_hash):
            return user_id, True
    audit.record(session, "login.failed", actor=user_id, subject=user_id, email=credentials.email)
    return user_id, False


async def complete_login(
    session: AsyncSession, limiter: RateLimiter, answer: ChallengeAnswer
) -> TokenPair:
    """Raises WrongCode and TooManyAttempts."""
    user_id = await second_factors.verify_challenge(session, limiter, answer.challenge, answer.code)
    return await session_service.start_session(session, user_id)


async def step_up(
    session: AsyncSession, limiter: RateLimiter, caller: User, proof: StepUpProof
) -> None:
    """Checks a code or, without a second factor, a password. Raises WrongCode or WrongPassword."""
    user_id = UUID(caller.user_id)
    async with autocommit_engine.connect() as connection:
        has_second_factor = await second_factors.is_enabled(connection, user_id)
    if has_second_factor:
        await second_factors.require_code(session, limiter, user_id, proof.code or "")
    else:
        await require_password(session, limiter, caller, proof.password or "")
    audit.record(session, "session.stepped_up", caller=caller, subject=user_id)
    await session_service.record_step_up(session, caller)


async def require_password(
    session: AsyncSession, limiter: RateLimiter, caller: User, password: str
) -> str:
    """Returns the hash that the password matches. Raises WrongPassword and TooManyAttempts."""
    user_id = UUID(caller.user_id)
    if wait := await limiter.count_attempt("password", caller.user_id):
        audit.record(session, "password.blocked", caller=caller, subject=user_id)
        raise TooManyAttempts(wait)
    _, password_hash = await find_password_hash(SELECT_BY_ID, user_id)
    if password_hash is None or not await passwords.verify_password(password_hash, password):
        audit.record(session, "password.failed", caller=caller, subject=user_id)
        raise WrongPassword(WRONG_PASSWORD)
    await limiter.reset_attempts("password", caller.user_id)
    return password_hash


async def find_password_hash(query: Executable, key: str | UUID) -> tuple[UUID | None, str | None]:
    """Uses a connection of its own, so that none is held while the password is being verified."""
    async with autocommit_engine.connect() as connection:
        found = (await connection.execute(query, {"key": key})).one_or_none()
    return (found.id, found.password_hash) if found else (None, None)


async def replace_password(session: AsyncSession, user_id: UUID, old: str, new: str) -> bool:
    """Returns False if the account was locked or its password changed since the check of `old`."""
    if await session.scalar(LOCK_UNCHANGED_USER, {"user_id": user_id, "old": old}) is None:
        return False
    if new != old:
        account = update(Account).where(Account.id == user_id)
        await session.execute(account.values(password_hash=new))
    return True
