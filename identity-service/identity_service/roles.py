"""Roles: named sets of permissions. Nobody hands out a permission they do not have."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User
from chassis.errors import Conflict, Forbidden, NotFound, Unprocessable

from . import audit, changes
from .models import Role
from .schemas import RoleCreate, RolePatch


class DuplicateRole(Conflict):
    """A role's name is its id."""


class SystemRole(Conflict):
    """The platform relies on it."""


def require_all(by: User, permissions: Iterable[str]) -> None:
    """Raises Forbidden unless the caller has every one of them."""
    for permission in permissions:
        if not by.may(permission):
            raise Forbidden(f"This needs the permission {permission}")


async def named(session: AsyncSession, names: Iterable[str], by: User | None) -> list[Role]:
    """The roles, for somebody to be given by `by`; raises Unprocessable for unknown ones."""
    wanted = set(names)
    query = select(Role).where(Role.name.in_(wanted)).order_by(Role.name)
    # The lock keeps a role from being deleted before it is given.
    found = (await session.scalars(query.with_for_update(read=True, key_share=True))).all()
    unknown = wanted - {role.name for role in found}
    if unknown:
        raise Unprocessable.field("roles", f"there is no role {min(unknown)}")
    if by:
        require_all(by, [name for role in found for name in role.permissions])
    return list(found)


async def create(session: AsyncSession, by: User, new: RoleCreate) -> Role:
    """Raises DuplicateRole."""
    require_all(by, new.permissions)
    role = Role(**new.model_dump())
    session.add(role)
    try:
        await session.flush()
    except IntegrityError as error:
        raise DuplicateRole(f"There is a role {new.name} already") from error
    audit.record(session, "role.created", by=by, role=role.name, permissions=role.permissions)
    return role


async def find(session: AsyncSession, name: str, to_change: bool = False) -> Role:
    """Raises NotFound."""
    role = await session.get(Role, name, with_for_update=to_change)
    if role is None:
        raise NotFound("There is no such role")
    return role


async def update(session: AsyncSession, by: User, name: str, patch: RolePatch) -> Role:
    """Whoever has the role has its new permissions from now on."""
    role = await find_governed(session, by, name)
    given = patch.model_dump()
    require_all(by, given.get("permissions", ()))
    role.description = given.get("description", role.description)
    role.permissions = given.get("permissions", role.permissions)
    audit.record(session, "role.updated", by=by, role=name, **given)
    await changes.publish(session)
    return role


async def remove(session: AsyncSession, by: User, name: str) -> None:
    """Whoever had the role has it no more."""
    role = await find_governed(session, by, name)
    await session.delete(role)
    audit.record(session, "role.deleted", by=by, role=name)
    await changes.publish(session)


async def find_governed(session: AsyncSession, by: User, name: str) -> Role:
    role = await find(session, name, to_change=True)
    if role.is_system:
        raise SystemRole(f"{name} is a system role and stays as it is")
    require_all(by, role.permissions)
    return role
