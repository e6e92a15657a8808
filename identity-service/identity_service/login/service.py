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
from ..database import Refused, now, reader
from ..mail import service as mail
from ..mail.texts import Kind
from ..models import Account, Role
from ..rate_limits import Attempts, TooManyAttempts, network_of
from ..schemas.bodies import Credentials, Registration, SecondFactorProof, StepUp, UserCreate
from ..sessions import service as sessions
from ..users import service as users
from . import second_factors

WRONG = "Wrong email or password"

# Written once: putting a statement together costs more than running it.
STORED = select(Account.id, Account.password_hash)
BY_EMAIL = STORED.where(Account.email == bindparam("who"))
BY_ID = STORED.where(Account.id == bindparam("who"))
UNCHANGED = (
    select(Account.id)
    .where(Account.id == bindparam("user_id"), Account.password_hash == bindparam("old"))
    .where(Account.is_let_in)
    .with_for_update()
)


class WrongCredentials(Refused, Unauthenticated):
    """The same for an unknown address, a wrong password, and somebody deactivated or locked."""


class WrongPassword(Refused, Forbidden):
    """Not a 401: the caller's token is good."""


async def register(session: AsyncSession, new: Registration, password_hash: str) -> Account:
    """Who asks does not learn whether the address has an account already; its owner does."""
    try:
        return await users.create(session, UserCreate(**new.model_dump()), password_hash)
    except users.EmailTaken:
        owner = await session.scalar(select(Account).where(Account.email == new.email))
        if owner:
            audit.record(session, "user.registered_again", subject=owner.id)
            await mail.write(session, Kind.ALREADY_HERE, owner.id)
        return look_alike(new)


def look_alike(new: Registration) -> Account:
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


async def login(session: AsyncSession, attempts: Attempts, given: Credentials) -> dict[str, Any]:
    """The tokens of a new session, or a challenge to whoever has a second factor.

    Raises WrongCredentials and TooManyAttempts; the latter also when the password is right, so
    that nobody learns which it was.
    """
    network = network_of(audit.origin()[0])
    if wait := await attempts.wait_of(network):
        if await attempts.is_news(network):
            audit.record(session, "login.network_blocked")
        raise TooManyAttempts(WRONG, wait)
    wait = await attempts.begin(given.email, network)
    user_id, is_right = await authenticated(session, given)
    if wait:
        audit.record(session, "login.blocked", subject=user_id, email=given.email)
    if user_id is None or wait or not is_right:
        await attempts.note(network)
        raise TooManyAttempts(WRONG, wait) if wait else WrongCredentials(WRONG)
    await attempts.forgive(given.email, network)
    if await second_factors.is_on(session, user_id):
        return await second_factors.challenge(session, user_id)
    return await let_in(session, user_id)


async def authenticated(session: AsyncSession, given: Credentials) -> tuple[UUID | None, bool]:
    """Whose address it is, and if the password is right. It takes as long for nobody's address."""
    user_id, old_hash = await stored_password(BY_EMAIL, given.email)
    if await passwords.matches(old_hash, given.password) and user_id and old_hash:
        newest_hash = await passwords.up_to_date(old_hash, given.password)
        if await replace_password(session, user_id, old_hash, newest_hash):
            return user_id, True
    audit.record(session, "login.failed", actor=user_id, subject=user_id, email=given.email)
    return user_id, False


async def let_in(session: AsyncSession, user_id: UUID) -> dict[str, Any]:
    audit.record(session, "login.succeeded", actor=user_id, subject=user_id)
    return await sessions.start(session, user_id)


async def complete(
    session: AsyncSession, attempts: Attempts, given: SecondFactorProof
) -> dict[str, Any]:
    """The tokens of whoever answers the challenge. Raises WrongCode and TooManyAttempts."""
    user_id = await second_factors.answered(session, attempts, given.challenge, given.code)
    return await let_in(session, user_id)


async def step_up(session: AsyncSession, attempts: Attempts, by: User, given: StepUp) -> None:
    """Shows again who is there: with the second factor if there is one, else with the password.

    Raises WrongCode, WrongPassword and TooManyAttempts.
    """
    user_id = UUID(by.user_id)
    async with reader.connect() as connection:
        has_second_factor = await second_factors.is_on(connection, user_id)
    if has_second_factor:
        await second_factors.check(session, attempts, user_id, given.code or "")
    else:
        await require_password(session, attempts, by, given.password or "")
    audit.record(session, "session.proved", by=by, subject=user_id)
    await sessions.prove(session, by)


async def require_password(
    session: AsyncSession, attempts: Attempts, by: User, password: str
) -> str:
    """The hash it fits, with no connection held. Raises WrongPassword and TooManyAttempts."""
    user_id = UUID(by.user_id)
    if wait := await attempts.begin("password", by.user_id):
        audit.record(session, "password.blocked", by=by, subject=user_id)
        raise TooManyAttempts("The password is wrong", wait)
    _, password_hash = await stored_password(BY_ID, user_id)
    if password_hash is None or not await passwords.matches(password_hash, password):
        audit.record(session, "password.failed", by=by, subject=user_id)
        raise WrongPassword("The password is wrong")
    await attempts.forgive("password", by.user_id)
    return password_hash


async def stored_password(query: Executable, who: str | UUID) -> tuple[UUID | None, str | None]:
    """Read aside, so that no connection is held while the password waits to be checked."""
    async with reader.connect() as connection:
        found = (await connection.execute(query, {"who": who})).one_or_none()
    return (found.id, found.password_hash) if found else (None, None)


async def replace_password(session: AsyncSession, user_id: UUID, old: str, new: str) -> bool:
    """Whether they are let in, and their password is what it was when it was checked: locks it."""
    if await session.scalar(UNCHANGED, {"user_id": user_id, "old": old}) is None:
        return False
    if new != old:
        theirs = update(Account).where(Account.id == user_id)
        await session.execute(theirs.values(password_hash=new))
    return True
