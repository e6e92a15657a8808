"""Roles, for administrators."""

from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy import select

from chassis.auth import User, require_permission
from chassis.idempotency import idempotent
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..models import Role
from ..schemas.bodies import RoleCreate, RoleRead, RoleUpdate
from ..schemas.fields import RoleName
from ..users import roles

router = APIRouter(prefix="/roles", dependencies=[Depends(remember_origin)])
Idempotent = idempotent(DbSession)

Reader = Annotated[User, require_permission("roles:read")]
Admin = Annotated[User, require_permission("roles:write")]


@router.get("", response_model=Page[RoleRead])
async def list_roles(reader: Reader, session: DbSession, page: PageRequest) -> Any:
    """Every role."""
    return await session.run_sync(paginate, select(Role), page, Role.name)


@router.post("", response_model=RoleRead, status_code=201, dependencies=[Idempotent])
async def create_role(new: RoleCreate, admin: Admin, session: DbSession) -> Role:
    """Make a role of permissions that you have yourself."""
    return await roles.create_role(session, admin, new)


@router.get("/{name}", response_model=RoleRead)
async def read_role(name: RoleName, reader: Reader, session: DbSession) -> Role:
    """One role."""
    return await roles.get_role(session, name)


@router.patch("/{name}", response_model=RoleRead)
async def update_role(name: RoleName, patch: RoleUpdate, admin: Admin, session: DbSession) -> Role:
    """Change what a role permits, at once for everybody who has it."""
    return await roles.update_role(session, admin, name, patch)


@router.delete("/{name}", status_code=204)
async def delete_role(name: RoleName, admin: Admin, session: DbSession) -> None:
    """Delete a role and take it from everybody who has it."""
    await roles.delete_role(session, admin, name)
