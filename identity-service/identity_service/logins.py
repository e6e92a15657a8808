"""How people come in: registering, logging in, and what they do about their passwords."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from chassis.auth import User
from chassis.errors import Forbidden

from . import accounts, audit, changes, mails, passwords, sessions
from .database import Refused, now, reader
from .letters import Kind
from .models import Account, Role
from .schemas import Credentials, PasswordChange, PasswordReset, Registration, UserCreate


class WrongCredentials(Refused):
    """The same for an unknown address, a wrong password, and somebody deactivated or locked."""


class WrongPassword(Forbidden):
    """Not a 401: the caller's token is good."""


async def register(session: AsyncSession, new: Registration) -> Account:
    """Who asks does not learn whether the address has an account already; its owner does."""
    try:
        return await accounts.create(session, UserCreate(**new.model_dump()))
    except accounts.EmailTaken:
        owner = await session.scalar(select(Account).where(Account.email == new.email))
        if owner:
            audit.record(session, "user.registered_again", subject=owner.id)
            await mails.write(session, Kind.ALREADY_HERE, owner.id)
        return look_alike(new)


def look_alike(new: Registration) -> Account:
    """What a new account would look like; it is never saved."""
    return Account(
        **new.model_dump(include={"email", "name"}),
        id=uuid7(),
        role_objects=[Role(name=name) for name in UserCreate.model_fields["roles"].default],
        is_active=True,
        is_verified=False,
        created_at=now(),
    )


async def login(session: AsyncSession, given: Credentials) -> dict[str, Any]:
    """The first tokens of a new session; raises WrongCredentials."""
    user_id, password_hash = await stored_password(Account.email == given.email)
    is_right = await passwords.matches(password_hash, given.password)
    account = await lock_unchanged(session, user_id, password_hash) if is_right else None
    if account is None:
        audit.record(session, "login.failed", subject=user_id, email=given.email)
        raise WrongCredentials("Wrong email or password")
    audit.record(session, "login.succeeded", subject=account.id)
    return await sessions.start(session, account.id)


async def stored_password(whose: ColumnElement[bool]) -> tuple[UUID | None, str | None]:
    """Read aside, so that no connection is held while the password waits to be checked."""
    query = select(Account.id, Account.password_hash).where(whose)
    async with reader.connect() as connection:
        found = (await connection.execute(query)).one_or_none()
    return (found.id, found.password_hash) if found else (None, None)


async def lock_unchanged(
    session: AsyncSession, user_id: UUID | None, password_hash: str | None
) -> Account | None:
    """The account, if it is let in, unless the password was changed while it was checked."""
    query = select(Account).where(
        Account.id == user_id, Account.password_hash == password_hash, Account.is_let_in
    )
    return await session.scalar(query.with_for_update())


async def change_password(session: AsyncSession, by: User, change: PasswordChange) -> None:
    """Ends every other session of the person. Raises WrongPassword."""
    user_id, password_hash = await stored_password(Account.id == UUID(by.user_id))
    is_right = await passwords.matches(password_hash, change.current_password)
    new_hash = await passwords.hashed(change.new_password)
    account = await lock_unchanged(session, user_id, password_hash) if is_right else None
    if account is None:
        raise WrongPassword("The current password is wrong")
    account.password_hash = new_hash
    audit.record(session, "password.changed", by=by, subject=account.id)
    await note_new_password(session, account.id)
    await sessions.end_all(session, by, account.id, but=by.session_id)


async def forgot_password(session: AsyncSession, email: str) -> None:
    """A link by mail, if there is somebody with the address."""
    await write_to_address(session, Kind.RESET, email)


async def reset_password(session: AsyncSession, given: PasswordReset) -> None:
    """Ends every session of the person, who has read their mail. Raises LinkUsedUp."""
    await mails.look_at(Kind.RESET, given.token)
    new_hash = await passwords.hashed(given.new_password)
    user_id = await mails.use_up(session, Kind.RESET, given.token)
    account = await accounts.find(session, user_id, to_change=True)
    if not account.is_let_in:
        raise mails.LinkUsedUp
    account.password_hash, account.is_verified = new_hash, True
    audit.record(session, "password.reset", subject=user_id)
    await note_new_password(session, user_id)
    await sessions.end_all(session, None, user_id)


async def note_new_password(session: AsyncSession, user_id: UUID) -> None:
    await mails.withdraw_links(session, user_id, Kind.RESET)
    await mails.write(session, Kind.PASSWORD_CHANGED, user_id)


async def resend_verification(session: AsyncSession, email: str) -> None:
    await write_to_address(session, Kind.VERIFY, email, ~Account.is_verified)


async def write_to_address(
    session: AsyncSession, kind: Kind, email: str, *only: ColumnElement[bool]
) -> None:
    """Recorded whoever it is, so that it takes as long for an address that nobody has."""
    whose = select(Account.id).where(Account.email == email, Account.is_let_in, *only)
    user_id = await session.scalar(whose)
    audit.record(session, "mail.asked_for", subject=user_id, kind=kind)
    if user_id:
        await mails.write(session, kind, user_id)


async def verify_address(session: AsyncSession, token: str) -> None:
    """Raises LinkUsedUp."""
    user_id = await mails.use_up(session, Kind.VERIFY, token)
    account = await accounts.find(session, user_id, to_change=True)
    account.is_verified = True
    audit.record(session, "email.verified", subject=user_id)
    await changes.publish(session, user_id=user_id)
