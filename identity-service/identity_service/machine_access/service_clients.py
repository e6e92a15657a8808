"""Services as callers: OAuth2 client credentials, their own tokens and those on behalf of users."""

import hmac
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.errors import Forbidden, Unauthenticated

from .. import audit
from ..crypto import tokens
from ..crypto.tokens import Kind
from ..database import Refused
from ..models import Account, Client
from ..rate_limits import Attempts, TooManyAttempts, network_of
from ..schemas.bodies import ClientCredentials
from ..settings import settings
from ..token_validation import DELEGATE

WRONG = "Wrong client id or secret"


class WrongClient(Refused, Unauthenticated):
    """The same for an unknown client and a wrong secret."""


class NotDelegated(Refused, Forbidden):
    """A service acts for nobody, or not for this user."""


async def token(
    session: AsyncSession, attempts: Attempts, given: ClientCredentials
) -> dict[str, Any]:
    """Raises WrongClient, NotDelegated and TooManyAttempts."""
    client = await session.scalar(select(Client).where(Client.client_id == given.client_id))
    if client is None or not is_secret_of(client, given.client_secret):
        # Only who is wrong is counted and made to wait: services share networks.
        if wait := await attempts.note("client", network_of(audit.origin()[0])):
            raise TooManyAttempts(WRONG, wait)
        audit.record(session, "client.refused", client_id=given.client_id)
        raise WrongClient(WRONG)
    if given.on_behalf_of is None:
        return signed(client, Kind.SERVICE, client.id, settings.access_token_seconds)
    await require_delegation(session, client, given.on_behalf_of)
    seconds = settings.delegated_token_seconds
    actor = {"sub": client.client_id}
    return signed(client, Kind.DELEGATED, given.on_behalf_of, seconds, act=actor)


def is_secret_of(client: Client, secret: str) -> bool:
    return hmac.compare_digest(client.secret_digest, tokens.digest(secret))


async def require_delegation(session: AsyncSession, client: Client, user_id: UUID) -> None:
    active = select(Account.id).where(Account.id == user_id, Account.is_let_in)
    if DELEGATE not in client.permissions:
        reason = f"This needs the permission {DELEGATE}"
    elif await session.scalar(active) is None:
        reason = "There is no active user with the id on_behalf_of"
    else:
        return
    audit.record(
        session, "client.not_delegated", subject=user_id, client_id=client.client_id, reason=reason
    )
    raise NotDelegated(reason)


def signed(client: Client, kind: Kind, subject: UUID, seconds: int, **more: Any) -> dict[str, Any]:
    access_token = tokens.issue(kind, subject, client.id, seconds, **more)
    return {"access_token": access_token, "expires_in": seconds}
