"""API keys: what programs log in with. Each is shown once, stored as a digest, and has its scopes.

A key belongs to a person, or to a service account: an account without a password, for a program
of its own.
"""

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
from ..schemas.bodies import ApiKeyCreate, ServiceAccountCreate
from ..sessions import service as session_service
from ..users import roles
from ..users import service as user_service

MAX_KEYS_PER_ACCOUNT = 50  # of one holder


class TooManyApiKeys(Conflict):
    """Some must be removed first."""


class NotKeyOwner(Forbidden):
    """A key to a person's account is for that person alone to make."""


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
    """With its secret, this once. Nobody gives a key rights that they do not have."""
    await require_key_owner(session, caller, user_id)
    roles.require_permissions(caller, new.scopes)
    if (
        await session.scalar(select(func.count()).where(ApiKey.user_id == user_id)) or 0
    ) >= MAX_KEYS_PER_ACCOUNT:
        raise TooManyApiKeys(f"There are {MAX_KEYS_PER_ACCOUNT} keys already")
    key = ApiKey(user_id=user_id, **new.model_dump())
    replace_secret(key)
    session.add(key)
    await session.flush()
    audit.record(
        session, "api_key.created", caller=caller, subject=user_id, key=str(key.id), name=key.name
    )
    return key


async def require_key_owner(session: AsyncSession, caller: User, user_id: UUID) -> None:
    """Oneself, or a service account of no more rights than one's own; locks the account."""
    account = await user_service.get_user_to_change(session, caller, user_id)
    await session_service.require_open_session(session, caller)
    if caller.user_id != str(user_id) and not account.is_service_account:
        raise NotKeyOwner("Only its owner makes keys to an account")


def replace_secret(key: ApiKey) -> None:
    key.secret = tokens.generate_api_key()
    key.prefix, key.digest = (
        key.secret[: tokens.SHOWN_API_KEY_LENGTH],
        tokens.compute_digest(key.secret),
    )


def select_api_keys(user_id: UUID) -> Select[Any]:
    return select(ApiKey).where(ApiKey.user_id == user_id)


async def get_api_key(session: AsyncSession, user_id: UUID, key_id: UUID) -> ApiKey:
    """Raises NotFound."""
    found = select_api_keys(user_id).where(ApiKey.id == key_id).with_for_update()
    key: ApiKey | None = await session.scalar(found)
    if key is None:
        raise NotFound("There is no such key")
    return key


async def rotate_api_key(
    session: AsyncSession, caller: User, user_id: UUID, key_id: UUID
) -> ApiKey:
    """The same key with a new secret; the one of before is good no more, at once."""
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
    """The caller announces it, with what else there is."""
    await session.execute(delete(ApiKey).where(ApiKey.user_id == user_id))
