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
from ..schemas.bodies import RoleCreate, RoleUpdate


class DuplicateRole(Conflict):
    """A role's name is its id."""


class SystemRole(Conflict):
    """The platform relies on it."""


class LastAdministrator(Conflict):
    """Nobody could make another one."""


ROLES_LOCK_ID, ADMINISTRATORS_LOCK_ID = 7_214_022, 7_214_023  # any numbers of their own
ADMINISTRATOR_EXISTS = (
    exists()
    .where(user_roles.c.user_id == Account.id, user_roles.c.role_name == Role.name)
    .where(Role.effective_permissions.contains(["*"]))
    .where(Account.can_log_in, ~Account.is_service_account)
)


def require_permissions(caller: User, permissions: Iterable[str]) -> None:
    """Raises Forbidden unless the caller has every one of them."""
    for permission in permissions:
        if not caller.has_permission(permission):
            raise Forbidden(f"This needs the permission {permission}")


async def get_assignable_roles(
    session: AsyncSession, names: Iterable[str], caller: User | None
) -> list[Role]:
    """The roles, for somebody to be given by `by`; raises Unprocessable for unknown ones."""
    wanted = set(names)
    query = select(Role).where(Role.name.in_(wanted)).order_by(Role.name)
    # The lock keeps a role from being deleted before it is given.
    found = (await session.scalars(query.with_for_update(read=True, key_share=True))).all()
    unknown = wanted - {role.name for role in found}
    if unknown:
        raise Unprocessable.for_field("roles", f"there is no role {min(unknown)}")
    if caller:
        require_permissions(caller, [name for role in found for name in role.effective_permissions])
    return list(found)


async def create_role(session: AsyncSession, caller: User, new: RoleCreate) -> Role:
    """Raises DuplicateRole, and Unprocessable for what it cannot inherit from."""
    await lock_roles(session)
    await require_existing_roles(session, new.inherits)
    role = Role(**new.model_dump())
    session.add(role)
    try:
        await session.flush()
    except IntegrityError as error:
        raise DuplicateRole(f"There is a role {new.name} already") from error
    await recompute_effective_permissions(session)
    require_permissions(caller, role.effective_permissions)
    audit.record(
        session, "role.created", caller=caller, role=role.name, **new.model_dump(exclude={"name"})
    )
    return role


async def get_role(session: AsyncSession, name: str) -> Role:
    """Raises NotFound."""
    role = await session.get(Role, name)
    if role is None:
        raise NotFound("There is no such role")
    return role


async def update_role(session: AsyncSession, caller: User, name: str, patch: RoleUpdate) -> Role:
    """Whoever has the role, or one that inherits from it, has its new permissions from now on."""
    role = await get_role_to_change(session, caller, name)
    was_for_all = "*" in role.effective_permissions
    given = patch.model_dump()
    await require_existing_roles(session, given.get("inherits", ()))
    for field, value in given.items():
        setattr(role, field, value)
    await recompute_effective_permissions(session)
    require_permissions(caller, role.effective_permissions)
    audit.record(session, "role.updated", caller=caller, role=name, **given)
    await publish_role_change(session, was_for_all)
    return role


async def delete_role(session: AsyncSession, caller: User, name: str) -> None:
    """Whoever had the role has it no more, and nothing inherits from it."""
    role = await get_role_to_change(session, caller, name)
    was_for_all = "*" in role.effective_permissions
    await session.delete(role)
    await session.flush()
    await recompute_effective_permissions(session)
    audit.record(session, "role.deleted", caller=caller, role=name)
    await publish_role_change(session, was_for_all)


async def publish_role_change(session: AsyncSession, was_administrator_role: bool) -> None:
    if was_administrator_role:
        await require_remaining_administrator(session)
    await change_feed.publish_change(session)


async def get_role_to_change(session: AsyncSession, caller: User, name: str) -> Role:
    await lock_roles(session)
    role = await get_role(session, name)
    if role.is_system:
        raise SystemRole(f"{name} is a system role and stays as it is")
    require_permissions(caller, role.effective_permissions)
    return role


async def lock_roles(session: AsyncSession) -> None:
    """What a role permits depends on the others: one change of them at a time."""
    await session.execute(select(func.pg_advisory_xact_lock(ROLES_LOCK_ID)))


async def require_existing_roles(session: AsyncSession, names: Iterable[str]) -> None:
    known = set(await session.scalars(select(Role.name)))
    for name in names:
        if name not in known:
            raise Unprocessable.for_field("inherits", f"there is no role {name}")


async def recompute_effective_permissions(session: AsyncSession) -> None:
    """What each role permits, with what it inherits: kept, so that the hot path need not ask."""
    roles = {role.name: role for role in await session.scalars(select(Role))}
    for name in sort_by_inheritance(roles):
        role = roles[name]
        role.inherits = [parent for parent in role.inherits if parent in roles]
        inherited = (roles[parent].effective_permissions for parent in role.inherits)
        role.effective_permissions = sorted(set(role.permissions).union(*inherited))
    await session.flush()


def sort_by_inheritance(roles: Mapping[str, Role]) -> list[str]:
    """Each after those it inherits from. Raises Unprocessable when they go round in a circle."""
    parents = {name: set(role.inherits) & roles.keys() for name, role in roles.items()}
    try:
        return list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise Unprocessable.for_field("inherits", "leads back to the role itself") from error


async def require_remaining_administrator(session: AsyncSession) -> None:
    """Raises LastAdministrator when a change would leave nobody who may do everything."""
    await session.flush()
    # Of two who remove each other, the second sees what the first has done.
    await session.execute(select(func.pg_advisory_xact_lock(ADMINISTRATORS_LOCK_ID)))
    if not await session.scalar(select(ADMINISTRATOR_EXISTS)):
        raise LastAdministrator("Somebody must remain who may do everything")
