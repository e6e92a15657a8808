"""Roles: named sets of permissions. A caller can only grant permissions that they have."""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from sqlalchemy import exists, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User
from chassis.errors import Conflict, Forbidden, NotFound, Unprocessable

from .. import audit, change_feed
from ..models import Account, Role, user_roles
from ..schemas.access import RoleCreate, RoleUpdate


class UnknownRole(NotFound):
    """Raised when there is no role of this name."""


class DuplicateRole(Conflict):
    """Raised when another role has the name."""


class SystemRole(Conflict):
    """Raised when a role would change that the platform relies on."""


class LastAdministrator(Conflict):
    """Raised when no administrator would be left to appoint another one."""


# Arbitrary numbers; advisory locks are per database.
ROLES_LOCK_ID = 7_214_022
ADMINISTRATORS_LOCK_ID = 7_214_023
ADMINISTRATOR_EXISTS = (
    exists()
    .where(user_roles.c.user_id == Account.id, user_roles.c.role_name == Role.name)
    .where(Role.effective_permissions.contains(["*"]))
    .where(Account.can_log_in, ~Account.is_service_account)
)


def require_permissions(caller: User, permissions: Iterable[str]) -> None:
    """Raises Forbidden unless the caller has all of them."""
    for permission in permissions:
        if not caller.has_permission(permission):
            raise Forbidden(f"This needs the permission {permission}")


async def get_assignable_roles(
    session: AsyncSession, names: Iterable[str], caller: User | None
) -> list[Role]:
    """Raises Unprocessable for an unknown role, and Forbidden if the caller may not grant one."""
    wanted = set(names)
    query = select(Role).where(Role.name.in_(wanted)).order_by(Role.name)
    # The lock keeps a role from being deleted before it is assigned.
    found = (await session.scalars(query.with_for_update(read=True, key_share=True))).all()
    unknown = wanted - {role.name for role in found}
    if unknown:
        raise Unprocessable.for_field("roles", f"there is no role {min(unknown)}")
    if caller:
        require_permissions(caller, [name for role in found for name in role.effective_permissions])
    return list(found)


async def create_role(session: AsyncSession, caller: User, new: RoleCreate) -> Role:
    """Raises DuplicateRole, and Unprocessable for an impossible inheritance."""
    await lock_roles(session)
    await require_existing_roles(session, new.inherits)
    role = Role(**new.model_dump())
    session.add(role)
    try:
        await session.flush()
    except IntegrityError as error:
        raise DuplicateRole(f"There is already a role {new.name}") from error
    await recompute_effective_permissions(session)
    require_permissions(caller, role.effective_permissions)
    details = new.model_dump(exclude={"name"})
    audit.record(session, "role.created", caller=caller, role=role.name, **details)
    return role


async def get_role(session: AsyncSession, name: str) -> Role:
    """Raises UnknownRole."""
    role = await session.get(Role, name)
    if role is None:
        raise UnknownRole("There is no such role")
    return role


async def update_role(session: AsyncSession, caller: User, name: str, update: RoleUpdate) -> Role:
    """Takes effect at once for all users with the role, or with one that inherits from it."""
    role = await get_role_to_change(session, caller, name)
    was_administrator_role = "*" in role.effective_permissions
    changes = update.model_dump()
    await require_existing_roles(session, changes.get("inherits", ()))
    for field, value in changes.items():
        setattr(role, field, value)
    await recompute_effective_permissions(session)
    require_permissions(caller, role.effective_permissions)
    audit.record(session, "role.updated", caller=caller, role=name, **changes)
    await publish_role_change(session, was_administrator_role)
    return role


async def delete_role(session: AsyncSession, caller: User, name: str) -> None:
    """Takes the role from all users who have it, and from roles that inherit from it."""
    role = await get_role_to_change(session, caller, name)
    was_administrator_role = "*" in role.effective_permissions
    await session.delete(role)
    await session.flush()
    await recompute_effective_permissions(session)
    audit.record(session, "role.deleted", caller=caller, role=name)
    await publish_role_change(session, was_administrator_role)


async def publish_role_change(session: AsyncSession, was_administrator_role: bool) -> None:
    if was_administrator_role:
        await require_remaining_administrator(session)
    await change_feed.publish_change(session)


async def get_role_to_change(session: AsyncSession, caller: User, name: str) -> Role:
    """Raises SystemRole, and Forbidden if the role has a permission that the caller lacks."""
    await lock_roles(session)
    role = await get_role(session, name)
    if role.is_system:
        raise SystemRole(f"{name} is a system role and cannot be changed")
    require_permissions(caller, role.effective_permissions)
    return role


async def lock_roles(session: AsyncSession) -> None:
    """Allows one change of roles at a time, because roles depend on each other."""
    await session.execute(select(func.pg_advisory_xact_lock(ROLES_LOCK_ID)))


async def require_existing_roles(session: AsyncSession, names: Iterable[str]) -> None:
    existing = set(await session.scalars(select(Role.name)))
    for name in names:
        if name not in existing:
            raise Unprocessable.for_field("inherits", f"there is no role {name}")


async def recompute_effective_permissions(session: AsyncSession) -> None:
    """Stores each role's permissions including inherited ones, for token_validation.py to read."""
    roles = {role.name: role for role in await session.scalars(select(Role))}
    for name in sort_by_inheritance(roles):
        role = roles[name]
        role.inherits = [parent for parent in role.inherits if parent in roles]
        inherited = (roles[parent].effective_permissions for parent in role.inherits)
        role.effective_permissions = sorted(set(role.permissions).union(*inherited))
    await session.flush()


def sort_by_inheritance(roles: Mapping[str, Role]) -> list[str]:
    """Puts each role after those it inherits from. Raises Unprocessable for a cycle."""
    parents = {name: set(role.inherits) & roles.keys() for name, role in roles.items()}
    try:
        return list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise Unprocessable.for_field("inherits", "leads back to the role itself") from error


async def require_remaining_administrator(session: AsyncSession) -> None:
    """Raises LastAdministrator when a change would leave no active administrator."""
    await session.flush()
    # Two administrators who remove each other run one after the other: the second one fails.
    await session.execute(select(func.pg_advisory_xact_lock(ADMINISTRATORS_LOCK_ID)))
    if not await session.scalar(select(ADMINISTRATOR_EXISTS)):
        raise LastAdministrator("The last administrator must stay; appoint another one first")
