"""Users: their accounts, roles and profiles, and how to reach them.

People see and change their own; administrators everyone's; services read profiles and contacts.
"""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query
from sqlalchemy import select

from chassis.auth import User, require_permission
from chassis.openapi import raises
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..login import second_factors
from ..models import Account, Role
from ..schemas import users as schemas
from ..schemas.fields import RoleName
from ..users import service as user_service
from ..users.roles import LastAdministrator
from ..users.service import EmailTaken, UnknownUser
from .dependencies import IdempotencyKey, RoleAdmin, UserAdmin, require_self_or, with_password_hash

router = APIRouter(prefix="/users", tags=["Users"], dependencies=[Depends(remember_origin)])

UserReader = Annotated[User, require_permission("users:read")]
SelfOrReader = Annotated[User, require_self_or("users:read")]
ProfileReader = Annotated[User, require_self_or("users:read", allow_services=True)]
ProfileWriter = Annotated[User, require_self_or("users:write")]
SelfOrContactReader = Annotated[User, require_self_or("contacts:read")]
ContactReader = Annotated[User, require_permission("contacts:read")]
RoleFilter = Annotated[RoleName | None, Query(description="Only users with this role.")]
UserWithHash = Annotated[tuple[schemas.UserCreate, str], with_password_hash(schemas.UserCreate)]


@router.get("", response_model=Page[schemas.UserRead])
async def list_users(
    reader: UserReader, session: DbSession, page: PageRequest, role: RoleFilter = None
) -> Any:
    """List users, newest first."""
    users = select(Account)
    if role:
        users = users.where(Account.role_objects.any(Role.name == role))
    return await session.run_sync(paginate, users, page, Account.id)


# `admin` comes first, so that the permission is checked before a password is hashed.
@router.post("", response_model=schemas.UserRead, status_code=201)
@raises(EmailTaken)
async def create_user(
    admin: UserAdmin, new: UserWithHash, _: IdempotencyKey, session: DbSession
) -> Account:
    """Create an account for someone else; you can only assign permissions that you have."""
    return await user_service.create_user(session, *new, admin)


@router.get("/{user_id}", response_model=schemas.UserRead)
@raises(UnknownUser)
async def read_user(user_id: UUID, reader: SelfOrReader, session: DbSession) -> Account:
    """Show one user."""
    return await user_service.get_user(session, user_id)


@router.patch("/{user_id}", response_model=schemas.UserRead)
@raises(UnknownUser, EmailTaken, LastAdministrator)
async def update_user(
    user_id: UUID, update: schemas.UserUpdate, admin: UserAdmin, session: DbSession
) -> Account:
    """Change a user; deactivating or locking ends all of their sessions."""
    return await user_service.update_user(session, admin, user_id, update)


@router.delete("/{user_id}", status_code=204)
@raises(UnknownUser, LastAdministrator)
async def delete_user(user_id: UUID, admin: UserAdmin, session: DbSession) -> None:
    """Delete a user permanently."""
    await user_service.delete_user(session, admin, user_id)


@router.delete("/{user_id}/mfa", status_code=204)
@raises(UnknownUser)
async def disable_second_factor(user_id: UUID, admin: UserAdmin, session: DbSession) -> None:
    """Turn off the second factor of a user who has lost their app and their recovery codes."""
    await user_service.get_user_to_change(session, admin, user_id)
    await second_factors.disable(session, admin, user_id)


@router.get("/{user_id}/profile", response_model=schemas.Profile)
@raises(UnknownUser)
async def read_profile(user_id: UUID, reader: ProfileReader, session: DbSession) -> Account:
    """Show a user's name, phone, language and time zone."""
    return await user_service.get_user(session, user_id)


@router.patch("/{user_id}/profile", response_model=schemas.Profile)
@raises(UnknownUser)
async def update_profile(
    user_id: UUID, update: schemas.ProfileUpdate, writer: ProfileWriter, session: DbSession
) -> Account:
    """Change your own profile or, as an administrator, another user's."""
    return await user_service.update_user(session, writer, user_id, update)


@router.get("/{user_id}/contact", response_model=schemas.Contact)
@raises(UnknownUser)
async def read_contact(user_id: UUID, reader: SelfOrContactReader, session: DbSession) -> Account:
    """Show how to reach a user."""
    return await user_service.get_user(session, user_id)


@router.post("/contacts", response_model=schemas.ContactList)
async def read_contacts(
    query: schemas.ContactsQuery, reader: ContactReader, session: DbSession
) -> dict[str, Sequence[Account]]:
    """Show how to reach many users; unknown ids are left out."""
    return {"items": await user_service.list_contacts(session, query.user_ids)}


@router.get("/{user_id}/permissions", response_model=schemas.UserPermissions)
@router.get("/{user_id}/roles", name="read_user_roles", response_model=schemas.UserPermissions)
@raises(UnknownUser)
async def read_user_permissions(user_id: UUID, reader: SelfOrReader, session: DbSession) -> Account:
    """Show a user's roles and permissions."""
    return await user_service.get_user(session, user_id)


@router.put("/{user_id}/roles", response_model=schemas.UserPermissions)
@raises(UnknownUser, LastAdministrator)
async def set_user_roles(
    user_id: UUID, assignment: schemas.RoleAssignment, admin: RoleAdmin, session: DbSession
) -> Account:
    """Replace a user's roles; you need every permission that they had and get."""
    return await user_service.set_user_roles(session, admin, user_id, assignment.roles)
