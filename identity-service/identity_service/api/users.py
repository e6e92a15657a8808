"""Users: for administrators, for services that work for them, and for themselves."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query
from sqlalchemy import select

from chassis.auth import CurrentUser, User, require_permission
from chassis.errors import Forbidden
from chassis.idempotency import idempotent
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..crypto import passwords
from ..database import DbSession
from ..login import second_factors
from ..models import Account, Role
from ..schemas import bodies
from ..schemas.fields import RoleName
from ..users import service as user_service

router = APIRouter(prefix="/users", dependencies=[Depends(remember_origin)])

Reader = Annotated[User, require_permission("users:read")]
Admin = Annotated[User, require_permission("users:write")]
RoleAdmin = Annotated[User, require_permission("roles:write")]


def require_self_or(permission: str, services: bool = False) -> Any:
    """The user whom the path names, or somebody with the permission."""

    async def check(user_id: UUID, user: CurrentUser) -> User:
        if (
            user.user_id == str(user_id)
            or user.has_permission(permission)
            or (services and user.is_service)
        ):
            return user
        raise Forbidden(f"This needs the permission {permission}")

    return Depends(check)


ProfileReader = Annotated[User, require_self_or("users:read", services=True)]
ProfileWriter = Annotated[User, require_self_or("users:write")]
ContactReader = Annotated[User, require_self_or("contacts:read")]
ContactsReader = Annotated[User, require_permission("contacts:read")]
SelfOrReader = Annotated[User, require_self_or("users:read")]
RoleFilter = Annotated[RoleName | None, Query(description="Only those who have it.")]


@router.get("", response_model=Page[bodies.UserRead])
async def list_users(
    reader: Reader, session: DbSession, page: PageRequest, role: RoleFilter = None
) -> Any:
    """Everybody, or those who have a role; the newest first."""
    people = select(Account)
    if role:
        people = people.where(Account.role_objects.any(Role.name == role))
    return await session.run_sync(paginate, people, page, Account.id)


async def with_hash(new: bodies.UserCreate, admin: Admin) -> tuple[bodies.UserCreate, str]:
    """Before an Idempotency-Key, which takes a connection: nobody holds one waiting for a hash."""
    return new, await passwords.hash_new_password(new.password)


Newcomer = Annotated[tuple[bodies.UserCreate, str], Depends(with_hash)]
Keyed = Annotated[None, idempotent(DbSession)]


@router.post("", response_model=bodies.UserRead, status_code=201)
async def create_user(newcomer: Newcomer, _: Keyed, admin: Admin, session: DbSession) -> Account:
    """Open an account for somebody, with roles whose permissions you have yourself."""
    return await user_service.create_user(session, *newcomer, admin)


@router.get("/{user_id}", response_model=bodies.UserRead)
async def read_user(user_id: UUID, reader: SelfOrReader, session: DbSession) -> Account:
    """One user."""
    return await user_service.get_user(session, user_id)


@router.patch("/{user_id}", response_model=bodies.UserRead)
async def update_user(
    user_id: UUID, patch: bodies.UserUpdate, admin: Admin, session: DbSession
) -> Account:
    """Change an account; one that is deactivated or locked is logged out everywhere."""
    return await user_service.update_user(session, admin, user_id, patch)


@router.delete("/{user_id}", status_code=204)
async def delete_user(user_id: UUID, admin: Admin, session: DbSession) -> None:
    """Delete an account for good."""
    await user_service.delete_user(session, admin, user_id)


@router.delete("/{user_id}/mfa", status_code=204)
async def disable_second_factor(user_id: UUID, admin: Admin, session: DbSession) -> None:
    """For somebody who has lost their app and their recovery codes."""
    await user_service.get_user_to_change(session, admin, user_id)
    await second_factors.disable(session, admin, user_id)


@router.get("/{user_id}/profile", response_model=bodies.Profile)
async def read_profile(user_id: UUID, reader: ProfileReader, session: DbSession) -> Account:
    """What a user is called and where they live."""
    return await user_service.get_user(session, user_id)


@router.patch("/{user_id}/profile", response_model=bodies.Profile)
async def update_profile(
    user_id: UUID, patch: bodies.ProfileUpdate, writer: ProfileWriter, session: DbSession
) -> Account:
    """Change a profile, your own or, as an administrator, anybody's."""
    return await user_service.update_user(session, writer, user_id, patch)


@router.get("/{user_id}/contact", response_model=bodies.Contact)
async def read_contact(user_id: UUID, reader: ContactReader, session: DbSession) -> Account:
    """How to reach a user."""
    return await user_service.get_user(session, user_id)


@router.post("/contacts", response_model=bodies.ContactList)
async def read_contacts(
    which: bodies.ContactsQuery, reader: ContactsReader, session: DbSession
) -> dict[str, Sequence[Account]]:
    """How to reach many users; whom there is not is left out."""
    return {"items": await user_service.list_contacts(session, which.user_ids)}


@router.get("/{user_id}/permissions", response_model=bodies.UserPermissions)
@router.get("/{user_id}/roles", response_model=bodies.UserPermissions)
async def read_permissions(user_id: UUID, reader: SelfOrReader, session: DbSession) -> Account:
    """What a user may do."""
    return await user_service.get_user(session, user_id)


@router.put("/{user_id}/roles", response_model=bodies.UserPermissions)
async def set_roles(
    user_id: UUID, given: bodies.RoleAssignment, admin: RoleAdmin, session: DbSession
) -> Account:
    """Give a user exactly these roles; you need every permission they had and get."""
    return await user_service.set_user_roles(session, admin, user_id, given.roles)
