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
from ..mail import service as mail_service
from ..mail.texts import EmailKind
from ..models import Account, Role, user_roles
from ..schemas.bodies import ProfileUpdate, UserCreate, UserUpdate
from ..sessions import service as session_service
from . import roles

FIELDS_IN_VALIDATION = {
    "email",
    "is_active",
    "locked_until",
    "is_verified",
}  # what its answer depends on


class EmailTaken(Conflict):
    """An address belongs to one person."""


async def create_user(
    session: AsyncSession, new: UserCreate, password_hash: str, caller: User | None = None
) -> Account:
    """Raises EmailTaken."""
    account = Account(
        **new.model_dump(include={"email", "name", "is_verified"}),
        password_hash=password_hash,
        role_objects=await roles.get_assignable_roles(session, new.roles, caller),
    )
    async with raise_if_email_is_taken(session, new.email):
        session.add(account)
    audit.record(session, "user.created", caller=caller, subject=account.id, roles=account.roles)
    if not account.is_verified:
        await mail_service.queue_email(session, EmailKind.VERIFY_EMAIL, account.id)
    return account


@asynccontextmanager
async def raise_if_email_is_taken(session: AsyncSession, email: str) -> AsyncIterator[None]:
    """Raises EmailTaken, and what else was done in the transaction stays."""
    try:
        async with session.begin_nested():
            yield
    except IntegrityError as error:
        raise EmailTaken(f"There is an account for {email} already") from error


async def get_user(session: AsyncSession, user_id: UUID, for_update: bool = False) -> Account:
    """Raises NotFound."""
    account = await session.get(Account, user_id, with_for_update=for_update)
    if account is None:
        raise NotFound("There is no such user")
    return account


async def list_contacts(session: AsyncSession, user_ids: Collection[UUID]) -> Sequence[Account]:
    """Of those who are there."""
    wanted = select(Account).where(Account.id.in_(user_ids))
    return (await session.scalars(wanted.options(raiseload(Account.role_objects)))).all()


async def get_user_to_change(session: AsyncSession, caller: User, user_id: UUID) -> Account:
    """For changing somebody: whoever has fewer rights than them may not."""
    account = await get_user(session, user_id, for_update=True)
    roles.require_permissions(caller, account.permissions)
    return account


async def update_user(
    session: AsyncSession, caller: User, user_id: UUID, patch: UserUpdate | ProfileUpdate
) -> Account:
    """Raises EmailTaken. The sessions of somebody deactivated or locked end."""
    account = await get_user_to_change(session, caller, user_id)
    was_administrator = "*" in account.permissions
    given = patch.model_dump()
    has_moved = given.get("email", account.email) != account.email
    if has_moved:
        await mail_service.withdraw_links(
            session, user_id, EmailKind.VERIFY_EMAIL, EmailKind.RESET_PASSWORD
        )
        given.setdefault("is_verified", False)
    async with raise_if_email_is_taken(session, given.get("email", account.email)):
        for name, value in given.items():
            setattr(account, name, value)
    if has_moved and not account.is_verified:
        await mail_service.queue_email(session, EmailKind.VERIFY_EMAIL, user_id)
    state = patch.model_dump(mode="json", include={"is_active", "locked_until", "is_verified"})
    audit.record(
        session, "user.updated", caller=caller, subject=user_id, fields=sorted(given), **state
    )
    if was_administrator:
        await roles.require_remaining_administrator(session)
    if not account.can_log_in:
        await session_service.end_all_sessions(session, caller, user_id)
    elif not FIELDS_IN_VALIDATION.isdisjoint(given):
        await change_feed.publish_change(session, user_id=user_id)
    return account


async def set_user_roles(
    session: AsyncSession, caller: User, user_id: UUID, role_names: Iterable[str]
) -> Account:
    account = await get_user_to_change(session, caller, user_id)
    was_administrator = "*" in account.permissions
    given = await roles.get_assignable_roles(session, role_names, caller)
    # Not through the ORM, which fails over a role that was deleted since it looked.
    await session.execute(delete(user_roles).where(user_roles.c.user_id == user_id))
    chosen = select(literal(user_id), Role.name).where(Role.name.in_(r.name for r in given))
    await session.execute(insert(user_roles).from_select(["user_id", "role_name"], chosen))
    await session.refresh(account, ["role_objects"])
    if was_administrator:
        await roles.require_remaining_administrator(session)
    audit.record(session, "user.roles_set", caller=caller, subject=user_id, roles=account.roles)
    await change_feed.publish_change(session, user_id=user_id)
    return account


async def delete_user(session: AsyncSession, caller: User, user_id: UUID) -> None:
    """For good, with the person's sessions; the audit trail keeps the id alone."""
    account = await get_user_to_change(session, caller, user_id)
    await session.execute(delete(Account).where(Account.id == user_id))
    if "*" in account.permissions:
        await roles.require_remaining_administrator(session)
    audit.record(session, "user.deleted", caller=caller, subject=user_id)
    await change_feed.publish_change(session, user_id=user_id)
