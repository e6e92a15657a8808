"""People: how they come, what they are called, how to reach them, what they may do."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, insert, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User
from chassis.errors import Conflict, Forbidden, NotFound

from . import audit, changes, passwords, roles, sessions
from .database import Refused, reader
from .models import Account, Role, user_roles
from .schemas import Credentials, PasswordChange, ProfilePatch, UserCreate, UserPatch


class EmailTaken(Conflict):
    """An address belongs to one person."""


class WrongCredentials(Refused):
    """The same for an unknown address, a wrong password, and somebody deactivated or locked."""


class WrongPassword(Forbidden):
    """Not a 401: the caller's token is good."""


async def create(session: AsyncSession, new: UserCreate, by: User | None = None) -> Account:
    """Raises EmailTaken."""
    account = Account(
        **new.model_dump(include={"email", "name", "is_verified"}),
        password_hash=await passwords.hashed(new.password),
        role_objects=await roles.named(session, new.roles, by),
    )
    session.add(account)
    await flush_address(session, account)
    audit.record(session, "user.created", by=by, subject=account.id, roles=account.roles)
    return account


async def flush_address(session: AsyncSession, account: Account) -> None:
    email = account.email
    try:
        await session.flush()
    except IntegrityError as error:
        raise EmailTaken(f"There is an account for {email} already") from error


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
    await sessions.end_all(session, by, account.id, but=by.session_id)


async def find(session: AsyncSession, user_id: UUID, to_change: bool = False) -> Account:
    """Raises NotFound."""
    account = await session.get(Account, user_id, with_for_update=to_change)
    if account is None:
        raise NotFound("There is no such user")
    return account


async def find_governed(session: AsyncSession, by: User, user_id: UUID) -> Account:
    """For changing somebody: whoever has fewer rights than them may not."""
    account = await find(session, user_id, to_change=True)
    roles.require_all(by, account.permissions)
    return account


async def update(
    session: AsyncSession, by: User, user_id: UUID, patch: UserPatch | ProfilePatch
) -> Account:
    """Raises EmailTaken. The sessions of somebody deactivated or locked end."""
    account = await find_governed(session, by, user_id)
    given = patch.model_dump()
    for name, value in given.items():
        setattr(account, name, value)
    await flush_address(session, account)
    audit.record(session, "user.updated", by=by, subject=user_id, fields=sorted(given))
    if account.is_let_in:
        await changes.publish(session, user_id=user_id)
    else:
        await sessions.end_all(session, by, user_id)
    return account


async def set_roles(
    session: AsyncSession, by: User, user_id: UUID, role_names: Iterable[str]
) -> Account:
    account = await find_governed(session, by, user_id)
    given = await roles.named(session, role_names, by)
    # Not through the ORM, which fails over a role that was deleted since it looked.
    await session.execute(delete(user_roles).where(user_roles.c.user_id == user_id))
    chosen = select(literal(user_id), Role.name).where(Role.name.in_(r.name for r in given))
    await session.execute(insert(user_roles).from_select(["user_id", "role_name"], chosen))
    await session.refresh(account, ["role_objects"])
    audit.record(session, "user.roles_set", by=by, subject=user_id, roles=account.roles)
    await changes.publish(session, user_id=user_id)
    return account


async def remove(session: AsyncSession, by: User, user_id: UUID) -> None:
    """For good, with the person's sessions; the audit trail keeps the id alone."""
    await find_governed(session, by, user_id)
    await session.execute(delete(Account).where(Account.id == user_id))
    audit.record(session, "user.deleted", by=by, subject=user_id)
    await changes.publish(session, user_id=user_id)
