"""API keys: for programs, which use a person's account or a service account of their own.

A key is valid wherever an access token is, and limited to its scopes.
"""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from chassis.auth import User
from chassis.idempotency import idempotent
from chassis.openapi import raises
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import remember_origin
from ..database import DbSession
from ..machine_access import api_keys
from ..machine_access.api_keys import NotKeyOwner, TooManyApiKeys, UnknownApiKey
from ..models import Account, ApiKey
from ..schemas.access import ApiKeyCreate, ApiKeyRead, ApiKeyWithSecret, ServiceAccountCreate
from ..schemas.users import UserRead
from ..users.service import UnknownUser
from .dependencies import UserAdmin, require_person, require_recent_step_up, require_self_or

router = APIRouter(
    prefix="/users/{user_id}/api-keys",
    tags=["API keys"],
    dependencies=[Depends(remember_origin), Depends(require_person)],
)
service_accounts_router = APIRouter(
    tags=["API keys"], dependencies=[Depends(remember_origin), idempotent(DbSession)]
)
RECENT_STEP_UP = [Depends(require_recent_step_up)]

Owner = Annotated[User, require_self_or("users:write")]


@service_accounts_router.post("/service-accounts", response_model=UserRead, status_code=201)
async def create_service_account(
    new: ServiceAccountCreate, admin: UserAdmin, session: DbSession
) -> Account:
    """Create an account for a program. It has API keys and no password, and is a user otherwise."""
    return await api_keys.create_service_account(session, admin, new)


@router.get("", response_model=Page[ApiKeyRead], summary="List API keys")
async def list_api_keys(user_id: UUID, _: Owner, session: DbSession, page: PageRequest) -> Any:
    """List the API keys of an account."""
    return await session.run_sync(paginate, api_keys.select_api_keys(user_id), page, ApiKey.id)


# There is no Idempotency-Key, because the response would be stored, and it contains the secret.
@router.post(
    "",
    response_model=ApiKeyWithSecret,
    status_code=201,
    summary="Create API key",
    dependencies=RECENT_STEP_UP,
)
@raises(UnknownUser, NotKeyOwner, TooManyApiKeys)
async def create_api_key(
    user_id: UUID, new: ApiKeyCreate, owner: Owner, session: DbSession
) -> ApiKey:
    """Create an API key for yourself or, as an administrator, for a service account.

    The secret is only shown in this response.
    """
    return await api_keys.create_api_key(session, owner, user_id, new)


@router.post(
    "/{key_id}/rotate",
    response_model=ApiKeyWithSecret,
    summary="Rotate API key",
    dependencies=RECENT_STEP_UP,
)
@raises(UnknownUser, NotKeyOwner, UnknownApiKey)
async def rotate_api_key(user_id: UUID, key_id: UUID, owner: Owner, session: DbSession) -> ApiKey:
    """Replace the secret of an API key; the old one stops working at once."""
    return await api_keys.rotate_api_key(session, owner, user_id, key_id)


@router.delete("/{key_id}", status_code=204, summary="Delete API key")
@raises(UnknownUser, UnknownApiKey)
async def delete_api_key(user_id: UUID, key_id: UUID, owner: Owner, session: DbSession) -> None:
    """Delete an API key; it stops working at once."""
    await api_keys.delete_api_key(session, owner, user_id, key_id)
