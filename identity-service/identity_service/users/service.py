"""People: how they come, what they are called, how to reach them, what they may do."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import delete, insert, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import raiseload

from chassis.auth import User
from chassis.errors import Conflict, NotFound

from .. import audit, change_feed
from ..mail import service as mail
from ..mail.texts import Kind
from ..models import Account, Role, user_roles
from ..schemas.bodies import ProfilePatch, UserCreate, UserPatch
from ..sessions import service as sessions
from . import roles

VALIDATED = {"email", "is_active", "locked_until", "is_verified"}  # what its answer depends on


class EmailTaken(Conflict):
    """An address belongs to one person."""


async def create(
    session: AsyncSession, new: UserCreate, password_hash: str, by: User | None = None
) -> Account:
    """Raises EmailTaken."""
    account = Account(
        **new.model_dump(include={"email", "name", "is_verified"}),
        password_hash=password_hash,
        role_objects=await roles.named(session, new.roles, by),
    )
    async with one_per_address(session, new.email):
        session.add(account)
    audit.record(session, "user.created", by=by, subject=account.id, roles=account.roles)
    if not account.is_verified:
        await mail.write(session, Kind.VERIFY, account.id)
    return account


@asynccontextmanager
async def one_per_address(session: AsyncSession, email: str) -> AsyncIterator[None]:
    """Raises EmailTaken, and what else was done in the transaction stays."""
    try:
        async with session.begin_nested():
            yield
    except IntegrityError as error:
        raise EmailTaken(f"There is an account for {email} already") from error


async def find(session: AsyncSession, user_id: UUID, to_change: bool = False) -> Account:
    """Raises NotFound."""
    account = await session.get(Account, user_id, with_for_update=to_change)
    if account is None:
        raise NotFound("There is no such user")
    return account


async def contacts(session: AsyncSession, user_ids: Collection[UUID]) -> Sequence[Account]:
    """Of those who are there."""
    wanted = select(Account).where(Account.id.in_(user_ids))
    return (await session.scalars(wanted.options(raiseload(Account.role_objects)))).all()


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
    was_administrator = "*" in account.permissions
    given = patch.model_dump()
    has_moved = given.get("email", account.email) != account.email
    if has_moved:
        await mail.withdraw_links(session, user_id, Kind.VERIFY, Kind.RESET)
        given.setdefault("is_verified", False)
    async with one_per_address(session, given.get("email", account.email)):
        for name, value in given.items():
            setattr(account, name, value)
    if has_moved and not account.is_verified:
        await mail.write(session, Kind.VERIFY, user_id)
    state = patch.model_dump(mode="json", include={"is_active", "locked_until", "is_verified"})
    audit.record(session, "user.updated", by=by, subject=user_id, fields=sorted(given), **state)
    if was_administrator:
        await roles.keep_an_administrator(session)
    if not account.is_let_in:
        await sessions.end_all(session, by, user_id)
    elif not VALIDATED.isdisjoint(given):
        await change_feed.publish(session, user_id=user_id)
    return account


async def set_roles(
    session: AsyncSession, by: User, user_id: UUID, role_names: Iterable[str]
) -> Account:
    account = await find_governed(session, by, user_id)
    was_administrator = "*" in account.permissions
    given = await roles.named(session, role_names, by)
    # Not through the ORM, which fails over a role that was deleted since it looked.
    await session.execute(delete(user_roles).where(user_roles.c.user_id == user_id))
    chosen = select(literal(user_id), Role.name).where(Role.name.in_(r.name for r in given))
    await session.execute(insert(user_roles).from_select(["user_id", "role_name"], chosen))
    await session.refresh(account, ["role_objects"])
    if was_administrator:
        await roles.keep_an_administrator(session)
    audit.record(session, "user.roles_set", by=by, subject=user_id, roles=account.roles)
    await change_feed.publish(session, user_id=user_id)
    return account


async def remove(session: AsyncSession, by: User, user_id: UUID) -> None:
    """For good, with the person's sessions; the audit trail keeps the id alone."""
    account = await find_governed(session, by, user_id)
    await session.execute(delete(Account).where(Account.id == user_id))
    if "*" in account.permissions:
        await roles.keep_an_administrator(session)
    audit.record(session, "user.deleted", by=by, subject=user_id)
    await change_feed.publish(session, user_id=user_id)
