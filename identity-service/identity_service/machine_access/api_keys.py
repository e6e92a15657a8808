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
from ..sessions import service as sessions
from ..users import roles
from ..users import service as users

MOST = 50  # of one holder


class TooManyKeys(Conflict):
    """Some must be removed first."""


class SomebodyElses(Forbidden):
    """A key to a person's account is for that person alone to make."""


async def create_service_account(
    session: AsyncSession, by: User, new: ServiceAccountCreate
) -> Account:
    account = Account(
        email=f"{secrets.token_hex(8)}@service-accounts.invalid",
        name=new.name,
        password_hash=passwords.NOBODYS,
        role_objects=await roles.named(session, new.roles, by),
        is_service_account=True,
    )
    session.add(account)
    await session.flush()
    audit.record(session, "service_account.created", by=by, subject=account.id, roles=new.roles)
    return account


async def create(session: AsyncSession, by: User, user_id: UUID, new: ApiKeyCreate) -> ApiKey:
    """With its secret, this once. Nobody gives a key rights that they do not have."""
    await require_holder(session, by, user_id)
    roles.require_all(by, new.scopes)
    if (await session.scalar(select(func.count()).where(ApiKey.user_id == user_id)) or 0) >= MOST:
        raise TooManyKeys(f"There are {MOST} keys already")
    key = ApiKey(user_id=user_id, **new.model_dump())
    set_secret(key)
    session.add(key)
    await session.flush()
    audit.record(session, "api_key.created", by=by, subject=user_id, key=str(key.id), name=key.name)
    return key


async def require_holder(session: AsyncSession, by: User, user_id: UUID) -> None:
    """Oneself, or a service account of no more rights than one's own; locks the account."""
    account = await users.find_governed(session, by, user_id)
    await sessions.require_open(session, by)
    if by.user_id != str(user_id) and not account.is_service_account:
        raise SomebodyElses("Only its owner makes keys to an account")


def set_secret(key: ApiKey) -> None:
    key.secret = tokens.new_api_key()
    key.prefix, key.digest = key.secret[: tokens.SHOWN], tokens.digest(key.secret)


def of_user(user_id: UUID) -> Select[Any]:
    return select(ApiKey).where(ApiKey.user_id == user_id)


async def find(session: AsyncSession, user_id: UUID, key_id: UUID) -> ApiKey:
    """Raises NotFound."""
    found = of_user(user_id).where(ApiKey.id == key_id).with_for_update()
    key: ApiKey | None = await session.scalar(found)
    if key is None:
        raise NotFound("There is no such key")
    return key


async def rotate(session: AsyncSession, by: User, user_id: UUID, key_id: UUID) -> ApiKey:
    """The same key with a new secret; the one of before is good no more, at once."""
    await require_holder(session, by, user_id)
    key = await find(session, user_id, key_id)
    set_secret(key)
    audit.record(session, "api_key.rotated", by=by, subject=user_id, key=str(key_id))
    await change_feed.publish(session, user_id=user_id, session_id=key_id)
    return key


async def remove(session: AsyncSession, by: User, user_id: UUID, key_id: UUID) -> None:
    await users.find_governed(session, by, user_id)
    await session.delete(await find(session, user_id, key_id))
    audit.record(session, "api_key.removed", by=by, subject=user_id, key=str(key_id))
    await change_feed.publish(session, user_id=user_id, session_id=key_id)


async def remove_all(session: AsyncSession, user_id: UUID) -> None:
    """The caller announces it, with what else there is."""
    await session.execute(delete(ApiKey).where(ApiKey.user_id == user_id))
