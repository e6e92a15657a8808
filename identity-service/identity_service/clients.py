"""Services as callers: OAuth2 client credentials, their own tokens and those on behalf of users."""

import hmac
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.errors import Forbidden, Unauthenticated

from . import audit, tokens
from .authentication import DELEGATE
from .database import Refused
from .models import Account, Client
from .schemas import ClientCredentials
from .settings import settings
from .tokens import Kind


class WrongClient(Refused, Unauthenticated):
    """The same for an unknown client and a wrong secret."""


class NotDelegated(Forbidden):
    """A service acts for nobody, or not for this user."""


async def token(session: AsyncSession, given: ClientCredentials) -> dict[str, Any]:
    """Raises WrongClient and NotDelegated."""
    client = await session.scalar(select(Client).where(Client.client_id == given.client_id))
    if client is None or not is_secret_of(client, given.client_secret):
        audit.record(session, "client.refused", client_id=given.client_id)
        raise WrongClient("Wrong client id or secret")
    if given.on_behalf_of is None:
        return signed(client, Kind.SERVICE, client.id, settings.access_token_seconds)
    await require_delegation(session, client, given.on_behalf_of)
    seconds = settings.delegated_token_seconds
    actor = {"sub": client.client_id}
    return signed(client, Kind.DELEGATED, given.on_behalf_of, seconds, act=actor)


def is_secret_of(client: Client, secret: str) -> bool:
    return hmac.compare_digest(client.secret_digest, tokens.digest(secret))


async def require_delegation(session: AsyncSession, client: Client, user_id: UUID) -> None:
    if DELEGATE not in client.permissions:
        raise NotDelegated(f"This needs the permission {DELEGATE}")
    active = select(Account.id).where(Account.id == user_id, Account.is_let_in)
    if await session.scalar(active) is None:
        raise NotDelegated("There is no active user with the id on_behalf_of")


def signed(client: Client, kind: Kind, subject: UUID, seconds: int, **more: Any) -> dict[str, Any]:
    access_token = tokens.issue(kind, subject, client.id, seconds, **more)
    return {"access_token": access_token, "expires_in": seconds}
