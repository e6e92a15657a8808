"""Roles: named sets of permissions, which users have. A role can inherit from others."""

from typing import Any

from fastapi import Depends
from sqlalchemy import select

from chassis.idempotency import idempotent
from chassis.openapi import raises
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..models import Role
from ..schemas.access import RoleCreate, RoleRead, RoleUpdate
from ..schemas.fields import RoleName
from ..users import roles
from ..users.roles import DuplicateRole, LastAdministrator, SystemRole, UnknownRole
from .dependencies import RoleAdmin, RoleReader

router = APIRouter(prefix="/roles", tags=["Roles"], dependencies=[Depends(remember_origin)])


@router.get("", response_model=Page[RoleRead])
async def list_roles(reader: RoleReader, session: DbSession, page: PageRequest) -> Any:
    """List all roles."""
    return await session.run_sync(paginate, select(Role), page, Role.name)


@router.post("", response_model=RoleRead, status_code=201, dependencies=[idempotent(DbSession)])
@raises(DuplicateRole)
async def create_role(new: RoleCreate, admin: RoleAdmin, session: DbSession) -> Role:
    """Create a role; you can only include permissions that you have."""
    return await roles.create_role(session, admin, new)


@router.get("/{name}", response_model=RoleRead)
@raises(UnknownRole)
async def read_role(name: RoleName, reader: RoleReader, session: DbSession) -> Role:
    """Show one role."""
    return await roles.get_role(session, name)


@router.patch("/{name}", response_model=RoleRead)
@raises(UnknownRole, SystemRole, LastAdministrator)
async def update_role(
    name: RoleName, update: RoleUpdate, admin: RoleAdmin, session: DbSession
) -> Role:
    """Change a role, with immediate effect for all users who have it."""
    return await roles.update_role(session, admin, name, update)


@router.delete("/{name}", status_code=204)
@raises(UnknownRole, SystemRole, LastAdministrator)
async def delete_role(name: RoleName, admin: RoleAdmin, session: DbSession) -> None:
    """Delete a role, and take it from all users who have it."""
    await roles.delete_role(session, admin, name)
