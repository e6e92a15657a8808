"""Users: creating, changing and deleting them, their contact details and their roles."""

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
from ..schemas.users import ProfileUpdate, UserCreate, UserUpdate
from ..sessions import service as session_service
from . import roles

FIELDS_IN_VALIDATION = {"email", "is_active", "locked_until", "is_verified"}  # of /auth/validate


class UnknownUser(NotFound):
    """Raised when there is no user of this id."""


class EmailTaken(Conflict):
    """Raised when another account has the email address."""


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
    """Raises EmailTaken in a savepoint, so that the rest of the transaction is kept."""
    try:
        async with session.begin_nested():
            yield
    except IntegrityError as error:
        raise EmailTaken(f"There is already an account for {email}") from error


async def get_user(session: AsyncSession, user_id: UUID, for_update: bool = False) -> Account:
    """Raises UnknownUser."""
    account = await session.get(Account, user_id, with_for_update=for_update)
    if account is None:
        raise UnknownUser("There is no such user")
    return account


async def list_contacts(session: AsyncSession, user_ids: Collection[UUID]) -> Sequence[Account]:
    """Leaves out unknown users."""
    accounts = select(Account).where(Account.id.in_(user_ids))
    return (await session.scalars(accounts.options(raiseload(Account.role_objects)))).all()


async def get_user_to_change(session: AsyncSession, caller: User, user_id: UUID) -> Account:
    """Locks the user. Raises Forbidden if they have a permission that the caller lacks."""
    account = await get_user(session, user_id, for_update=True)
    roles.require_permissions(caller, account.permissions)
    return account


async def update_user(
    session: AsyncSession, caller: User, user_id: UUID, update: UserUpdate | ProfileUpdate
) -> Account:
    """Raises EmailTaken. Deactivating or locking a user ends their sessions."""
    account = await get_user_to_change(session, caller, user_id)
    was_administrator = "*" in account.permissions
    changes = update.model_dump()
    email = changes.get("email", account.email)
    has_new_email = email != account.email
    if has_new_email:
        links = (EmailKind.VERIFY_EMAIL, EmailKind.RESET_PASSWORD)
        await mail_service.withdraw_links(session, user_id, *links)
        changes.setdefault("is_verified", False)
    async with raise_if_email_is_taken(session, email):
        for name, value in changes.items():
            setattr(account, name, value)
    if has_new_email and not account.is_verified:
        await mail_service.queue_email(session, EmailKind.VERIFY_EMAIL, user_id)
    state = update.model_dump(mode="json", include={"is_active", "locked_until", "is_verified"})
    state["fields"] = sorted(changes)
    audit.record(session, "user.updated", caller=caller, subject=user_id, **state)
    if was_administrator:
        await roles.require_remaining_administrator(session)
    if not account.can_log_in:
        await session_service.end_all_sessions(session, caller, user_id)
    elif not FIELDS_IN_VALIDATION.isdisjoint(changes):
        await change_feed.publish_change(session, user_id=user_id)
    return account


async def set_user_roles(
    session: AsyncSession, caller: User, user_id: UUID, role_names: Iterable[str]
) -> Account:
    """Replaces the roles of a user. The caller needs every permission they had and get."""
    account = await get_user_to_change(session, caller, user_id)
    was_administrator = "*" in account.permissions
    new_roles = await roles.get_assignable_roles(session, role_names, caller)
    # The ORM would fail here if another transaction has deleted one of the old roles meanwhile.
    await session.execute(delete(user_roles).where(user_roles.c.user_id == user_id))
    rows = select(literal(user_id), Role.name).where(Role.name.in_(r.name for r in new_roles))
    await session.execute(insert(user_roles).from_select(["user_id", "role_name"], rows))
    await session.refresh(account, ["role_objects"])
    if was_administrator:
        await roles.require_remaining_administrator(session)
    audit.record(session, "user.roles_set", caller=caller, subject=user_id, roles=account.roles)
    await change_feed.publish_change(session, user_id=user_id)
    return account


async def delete_user(session: AsyncSession, caller: User, user_id: UUID) -> None:
    """Deletes the user and everything of theirs; the audit trail keeps only the id."""
    account = await get_user_to_change(session, caller, user_id)
    await session.execute(delete(Account).where(Account.id == user_id))
    if "*" in account.permissions:
        await roles.require_remaining_administrator(session)
    audit.record(session, "user.deleted", caller=caller, subject=user_id)
    await change_feed.publish_change(session, user_id=user_id)
