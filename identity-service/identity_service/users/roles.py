"""Roles: named sets of permissions. Nobody hands out a permission they do not have."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from sqlalchemy import exists, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User
from chassis.errors import Conflict, Forbidden, NotFound, Unprocessable

from .. import audit, change_feed
from ..models import Account, Role, user_roles
from ..schemas.bodies import RoleCreate, RolePatch


class DuplicateRole(Conflict):
    """A role's name is its id."""


class SystemRole(Conflict):
    """The platform relies on it."""


class LastAdministrator(Conflict):
    """Nobody could make another one."""


LOCK, ADMINISTRATORS_LOCK = 7_214_022, 7_214_023  # any numbers of their own
HAS_AN_ADMINISTRATOR = (
    exists()
    .where(user_roles.c.user_id == Account.id, user_roles.c.role_name == Role.name)
    .where(Role.effective_permissions.contains(["*"]))
    .where(Account.is_let_in, ~Account.is_service_account)
)


def require_all(by: User, permissions: Iterable[str]) -> None:
    """Raises Forbidden unless the caller has every one of them."""
    for permission in permissions:
        if not by.has_permission(permission):
            raise Forbidden(f"This needs the permission {permission}")


async def named(session: AsyncSession, names: Iterable[str], by: User | None) -> list[Role]:
    """The roles, for somebody to be given by `by`; raises Unprocessable for unknown ones."""
    wanted = set(names)
    query = select(Role).where(Role.name.in_(wanted)).order_by(Role.name)
    # The lock keeps a role from being deleted before it is given.
    found = (await session.scalars(query.with_for_update(read=True, key_share=True))).all()
    unknown = wanted - {role.name for role in found}
    if unknown:
        raise Unprocessable.for_field("roles", f"there is no role {min(unknown)}")
    if by:
        require_all(by, [name for role in found for name in role.effective_permissions])
    return list(found)


async def create(session: AsyncSession, by: User, new: RoleCreate) -> Role:
    """Raises DuplicateRole, and Unprocessable for what it cannot inherit from."""
    await take_turns(session)
    await require_known(session, new.inherits)
    role = Role(**new.model_dump())
    session.add(role)
    try:
        await session.flush()
    except IntegrityError as error:
        raise DuplicateRole(f"There is a role {new.name} already") from error
    await work_out(session)
    require_all(by, role.effective_permissions)
    audit.record(session, "role.created", by=by, role=role.name, **new.model_dump(exclude={"name"}))
    return role


async def find(session: AsyncSession, name: str) -> Role:
    """Raises NotFound."""
    role = await session.get(Role, name)
    if role is None:
        raise NotFound("There is no such role")
    return role


async def update(session: AsyncSession, by: User, name: str, patch: RolePatch) -> Role:
    """Whoever has the role, or one that inherits from it, has its new permissions from now on."""
    role = await find_governed(session, by, name)
    was_for_all = "*" in role.effective_permissions
    given = patch.model_dump()
    await require_known(session, given.get("inherits", ()))
    for field, value in given.items():
        setattr(role, field, value)
    await work_out(session)
    require_all(by, role.effective_permissions)
    audit.record(session, "role.updated", by=by, role=name, **given)
    await announce(session, was_for_all)
    return role


async def remove(session: AsyncSession, by: User, name: str) -> None:
    """Whoever had the role has it no more, and nothing inherits from it."""
    role = await find_governed(session, by, name)
    was_for_all = "*" in role.effective_permissions
    await session.delete(role)
    await session.flush()
    await work_out(session)
    audit.record(session, "role.deleted", by=by, role=name)
    await announce(session, was_for_all)


async def announce(session: AsyncSession, was_for_all: bool) -> None:
    if was_for_all:
        await keep_an_administrator(session)
    await change_feed.publish(session)


async def find_governed(session: AsyncSession, by: User, name: str) -> Role:
    await take_turns(session)
    role = await find(session, name)
    if role.is_system:
        raise SystemRole(f"{name} is a system role and stays as it is")
    require_all(by, role.effective_permissions)
    return role


async def take_turns(session: AsyncSession) -> None:
    """What a role permits depends on the others: one change of them at a time."""
    await session.execute(select(func.pg_advisory_xact_lock(LOCK)))


async def require_known(session: AsyncSession, names: Iterable[str]) -> None:
    known = set(await session.scalars(select(Role.name)))
    for name in names:
        if name not in known:
            raise Unprocessable.for_field("inherits", f"there is no role {name}")


async def work_out(session: AsyncSession) -> None:
    """What each role permits, with what it inherits: kept, so that the hot path need not ask."""
    roles = {role.name: role for role in await session.scalars(select(Role))}
    for name in in_order(roles):
        role = roles[name]
        role.inherits = [parent for parent in role.inherits if parent in roles]
        inherited = (roles[parent].effective_permissions for parent in role.inherits)
        role.effective_permissions = sorted(set(role.permissions).union(*inherited))
    await session.flush()


def in_order(roles: Mapping[str, Role]) -> list[str]:
    """Each after those it inherits from. Raises Unprocessable when they go round in a circle."""
    parents = {name: set(role.inherits) & roles.keys() for name, role in roles.items()}
    try:
        return list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise Unprocessable.for_field("inherits", "leads back to the role itself") from error


async def keep_an_administrator(session: AsyncSession) -> None:
    """Raises LastAdministrator when a change would leave nobody who may do everything."""
    await session.flush()
    # Of two who remove each other, the second sees what the first has done.
    await session.execute(select(func.pg_advisory_xact_lock(ADMINISTRATORS_LOCK)))
    if not await session.scalar(select(HAS_AN_ADMINISTRATOR)):
        raise LastAdministrator("Somebody must remain who may do everything")
