"""API keys, which are limited to scopes, and service accounts, which can only log in with keys."""

import secrets
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.auth import User
from chassis.errors import Conflict, Forbidden, NotFound

from .. import audit, change_feed
from ..crypto import passwords, tokens
from ..models import Account, ApiKey
from ..schemas.access import ApiKeyCreate, ServiceAccountCreate
from ..sessions import service as session_service
from ..users import roles
from ..users import service as user_service

MAX_KEYS_PER_ACCOUNT = 50


class UnknownApiKey(NotFound):
    """Raised when the account has no key of this id."""


class TooManyApiKeys(Conflict):
    """Raised when an account has as many keys as it may."""


class NotKeyOwner(Forbidden):
    """Raised when an administrator would create a key for another person."""


async def create_service_account(
    session: AsyncSession, caller: User, new: ServiceAccountCreate
) -> Account:
    account = Account(
        email=f"{secrets.token_hex(8)}@service-accounts.invalid",
        name=new.name,
        password_hash=passwords.DUMMY_HASH,
        role_objects=await roles.get_assignable_roles(session, new.roles, caller),
        is_service_account=True,
    )
    session.add(account)
    await session.flush()
    audit.record(
        session, "service_account.created", caller=caller, subject=account.id, roles=new.roles
    )
    return account


async def create_api_key(
    session: AsyncSession, caller: User, user_id: UUID, new: ApiKeyCreate
) -> ApiKey:
    """Returns the key with its secret. Scopes can only name permissions that the caller has."""
    await require_key_owner(session, caller, user_id)
    roles.require_permissions(caller, new.scopes)
    count = await session.scalar(select(func.count()).where(ApiKey.user_id == user_id))
    if (count or 0) >= MAX_KEYS_PER_ACCOUNT:
        raise TooManyApiKeys(
            f"This account already has {MAX_KEYS_PER_ACCOUNT} keys; delete one that is not used"
        )
    key = ApiKey(user_id=user_id, **new.model_dump())
    replace_secret(key)
    session.add(key)
    await session.flush()
    audit.record(
        session, "api_key.created", caller=caller, subject=user_id, key=str(key.id), name=key.name
    )
    return key


async def require_key_owner(session: AsyncSession, caller: User, user_id: UUID) -> None:
    """Locks the account. Raises NotKeyOwner unless it is the caller's or a service account."""
    account = await user_service.get_user_to_change(session, caller, user_id)
    await session_service.require_open_session(session, caller)
    if caller.user_id != str(user_id) and not account.is_service_account:
        raise NotKeyOwner("Only the owner of an account can create keys for it")


def replace_secret(key: ApiKey) -> None:
    key.secret = tokens.generate_api_key()
    key.prefix = key.secret[: tokens.SHOWN_API_KEY_LENGTH]
    key.digest = tokens.compute_digest(key.secret)


def select_api_keys(user_id: UUID) -> Select[Any]:
    return select(ApiKey).where(ApiKey.user_id == user_id)


async def get_api_key(session: AsyncSession, user_id: UUID, key_id: UUID) -> ApiKey:
    """Raises UnknownApiKey."""
    found = select_api_keys(user_id).where(ApiKey.id == key_id).with_for_update()
    key: ApiKey | None = await session.scalar(found)
    if key is None:
        raise UnknownApiKey("There is no such key")
    return key


async def rotate_api_key(
    session: AsyncSession, caller: User, user_id: UUID, key_id: UUID
) -> ApiKey:
    """Gives the key a new secret; the old one is invalid at once."""
    await require_key_owner(session, caller, user_id)
    key = await get_api_key(session, user_id, key_id)
    replace_secret(key)
    audit.record(session, "api_key.rotated", caller=caller, subject=user_id, key=str(key_id))
    await change_feed.publish_change(session, user_id=user_id, session_id=key_id)
    return key


async def delete_api_key(session: AsyncSession, caller: User, user_id: UUID, key_id: UUID) -> None:
    await user_service.get_user_to_change(session, caller, user_id)
    await session.delete(await get_api_key(session, user_id, key_id))
    audit.record(session, "api_key.removed", caller=caller, subject=user_id, key=str(key_id))
    await change_feed.publish_change(session, user_id=user_id, session_id=key_id)


async def delete_all_api_keys(session: AsyncSession, user_id: UUID) -> None:
    """Leaves it to its caller to publish the change."""
    await session.execute(delete(ApiKey).where(ApiKey.user_id == user_id))
