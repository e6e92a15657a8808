"""API keys and service accounts: how programs of your own come in."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from chassis.auth import User, require_permission
from chassis.idempotency import idempotent
from chassis.pagination import Page, PageRequest, paginate
from chassis.routing import APIRouter

from ..audit import note_origin
from ..database import DbSession
from ..machine_access import api_keys
from ..models import Account, ApiKey
from ..schemas.bodies import ApiKeyCreate, ApiKeyMade, ApiKeyRead, ServiceAccountCreate, UserRead
from .dependencies import in_person, recently_proved
from .users import self_or

router = APIRouter(
    prefix="/users/{user_id}/api-keys", dependencies=[Depends(note_origin), Depends(in_person)]
)
accounts_router = APIRouter(dependencies=[Depends(note_origin)])
PROVED = [Depends(recently_proved)]

Holder = Annotated[User, self_or("users:write")]
Admin = Annotated[User, require_permission("users:write")]


@accounts_router.post(
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
async def list_keys(user_id: UUID, holder: Holder, session: DbSession, page: PageRequest) -> Any:
    """The keys to an account."""
    return await session.run_sync(paginate, api_keys.of_user(user_id), page, ApiKey.id)


# No Idempotency-Key: the answer would be kept, and it has the key in it.
@router.post("", response_model=ApiKeyMade, status_code=201, dependencies=PROVED)
async def create_key(
    user_id: UUID, new: ApiKeyCreate, holder: Holder, session: DbSession
) -> ApiKey:
    """Make a key to your own account, or as an administrator to a service account."""
    return await api_keys.create(session, holder, user_id, new)


@router.post("/{key_id}/rotate", response_model=ApiKeyMade, dependencies=PROVED)
async def rotate_key(user_id: UUID, key_id: UUID, holder: Holder, session: DbSession) -> ApiKey:
    """Replace the secret of a key, at once."""
    return await api_keys.rotate(session, holder, user_id, key_id)


@router.delete("/{key_id}", status_code=204)
async def remove_key(user_id: UUID, key_id: UUID, holder: Holder, session: DbSession) -> None:
    """Remove a key: it is good no more."""
    await api_keys.remove(session, holder, user_id, key_id)
