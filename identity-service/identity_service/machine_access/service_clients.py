"""Services as callers: OAuth2 client credentials, their own tokens and those on behalf of users."""

import hmac
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from chassis.errors import Forbidden, Unauthenticated

from .. import audit
from ..crypto import tokens
from ..crypto.tokens import TokenType
from ..database import CommitOnError
from ..models import Account, OAuthClient
from ..rate_limits import RateLimiter, TooManyAttempts, get_network
from ..schemas.bodies import ClientCredentials
from ..settings import settings
from ..token_validation import DELEGATE_PERMISSION

WRONG_CLIENT = "Wrong client id or secret"


class InvalidClient(CommitOnError, Unauthenticated):
    """The same for an unknown client and a wrong secret."""


class DelegationDenied(CommitOnError, Forbidden):
    """A service acts for nobody, or not for this user."""


async def issue_client_token(
    session: AsyncSession, limiter: RateLimiter, given: ClientCredentials
) -> dict[str, Any]:
    """Raises WrongClient, NotDelegated and TooManyAttempts."""
    client = await session.scalar(
        select(OAuthClient).where(OAuthClient.client_id == given.client_id)
    )
    if client is None or not has_secret(client, given.client_secret):
        # Only who is wrong is counted and made to wait: services share networks.
        if wait := await limiter.count_for_network("client", get_network(audit.get_origin()[0])):
            raise TooManyAttempts(WRONG_CLIENT, wait)
        audit.record(session, "client.refused", client_id=given.client_id)
        raise InvalidClient(WRONG_CLIENT)
    if given.on_behalf_of is None:
        return sign_client_token(
            client, TokenType.SERVICE, client.id, settings.access_token_seconds
        )
    await require_delegation(session, client, given.on_behalf_of)
    seconds = settings.delegated_token_seconds
    actor = {"sub": client.client_id}
    return sign_client_token(client, TokenType.DELEGATED, given.on_behalf_of, seconds, act=actor)


def has_secret(client: OAuthClient, secret: str) -> bool:
    return hmac.compare_digest(client.secret_digest, tokens.compute_digest(secret))


async def require_delegation(session: AsyncSession, client: OAuthClient, user_id: UUID) -> None:
    active = select(Account.id).where(Account.id == user_id, Account.can_log_in)
    if DELEGATE_PERMISSION not in client.permissions:
        reason = f"This needs the permission {DELEGATE_PERMISSION}"
    elif await session.scalar(active) is None:
        reason = "There is no active user with the id on_behalf_of"
    else:
        return
    audit.record(
        session, "client.not_delegated", subject=user_id, client_id=client.client_id, reason=reason
    )
    raise DelegationDenied(reason)


def sign_client_token(
    client: OAuthClient, kind: TokenType, subject: UUID, seconds: int, **more: Any
) -> dict[str, Any]:
    access_token = tokens.sign_token(kind, subject, client.id, seconds, **more)
    return {"access_token": access_token, "expires_in": seconds}
