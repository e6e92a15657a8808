"""API keys and service accounts: how programs of your own come in."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from chassis.auth import User, require_permission
from chassis.idempotency import idempotent
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..machine_access import api_keys
from ..models import Account, ApiKey
from ..schemas.bodies import (
    ApiKeyCreate,
    ApiKeyRead,
    ApiKeyWithSecret,
    ServiceAccountCreate,
    UserRead,
)
from .dependencies import require_person, require_recent_step_up
from .users import require_self_or

router = APIRouter(
    prefix="/users/{user_id}/api-keys",
    dependencies=[Depends(remember_origin), Depends(require_person)],
)
service_accounts_router = APIRouter(dependencies=[Depends(remember_origin)])
RECENT_STEP_UP = [Depends(require_recent_step_up)]

KeyOwner = Annotated[User, require_self_or("users:write")]
Admin = Annotated[User, require_permission("users:write")]


@service_accounts_router.post(
    "/service-accounts",
    response_model=UserRead,
    status_code=201,
    dependencies=[idempotent(DbSession)],
)
async def create_service_account(
    new: ServiceAccountCreate, admin: Admin, session: DbSession
) -> Account:
    """An account for a program: it has keys in place of a password; else it is a user like all."""
    return await api_keys.create_service_account(session, admin, new)


@router.get("", response_model=Page[ApiKeyRead])
async def list_api_keys(
    user_id: UUID, holder: KeyOwner, session: DbSession, page: PageRequest
) -> Any:
    """The keys to an account."""
    return await session.run_sync(paginate, api_keys.select_api_keys(user_id), page, ApiKey.id)


# No Idempotency-Key: the answer would be kept, and it has the key in it.
@router.post("", response_model=ApiKeyWithSecret, status_code=201, dependencies=RECENT_STEP_UP)
async def create_api_key(
    user_id: UUID, new: ApiKeyCreate, holder: KeyOwner, session: DbSession
) -> ApiKey:
    """Make a key to your own account, or as an administrator to a service account."""
    return await api_keys.create_api_key(session, holder, user_id, new)


@router.post("/{key_id}/rotate", response_model=ApiKeyWithSecret, dependencies=RECENT_STEP_UP)
async def rotate_api_key(
    user_id: UUID, key_id: UUID, holder: KeyOwner, session: DbSession
) -> ApiKey:
    """Replace the secret of a key, at once."""
    return await api_keys.rotate_api_key(session, holder, user_id, key_id)


@router.delete("/{key_id}", status_code=204)
async def delete_api_key(user_id: UUID, key_id: UUID, holder: KeyOwner, session: DbSession) -> None:
    """Remove a key: it is good no more."""
    await api_keys.delete_api_key(session, holder, user_id, key_id)
