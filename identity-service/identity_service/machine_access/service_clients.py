"""Tokens for services (OAuth2 client credentials): their own, and on behalf of a user."""

import hmac
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
from ..schemas.tokens import AccessToken, ClientCredentials
from ..settings import settings
from ..token_validation import DELEGATE_PERMISSION

WRONG_CLIENT = "Wrong client id or secret"


class InvalidClient(CommitOnError, Unauthenticated):
    """Raised for an unknown client or a wrong secret, without saying which."""


class DelegationDenied(CommitOnError, Forbidden):
    """Raised when a service may not act for users at all, or not for this one."""


async def issue_client_token(
    session: AsyncSession, limiter: RateLimiter, credentials: ClientCredentials
) -> AccessToken:
    """Raises InvalidClient, DelegationDenied and TooManyAttempts."""
    query = select(OAuthClient).where(OAuthClient.client_id == credentials.client_id)
    client = await session.scalar(query)
    if client is None or not has_secret(client, credentials.client_secret):
        # Only wrong secrets count and are blocked, because services share networks.
        network = get_network(audit.get_origin().ip)
        if wait := await limiter.count_for_network("client", network):
            raise TooManyAttempts(wait)
        audit.record(session, "client.refused", client_id=credentials.client_id)
        raise InvalidClient(WRONG_CLIENT)
    user_id = credentials.on_behalf_of
    if user_id is None:
        seconds = settings.access_token_seconds
        token = tokens.sign_token(TokenType.SERVICE, client.id, client.id, seconds)
    else:
        await require_delegation(session, client, user_id)
        seconds = settings.delegated_token_seconds
        act = {"sub": client.client_id}
        token = tokens.sign_token(TokenType.DELEGATED, user_id, client.id, seconds, act=act)
    return AccessToken(access_token=token, expires_in=seconds)


def has_secret(client: OAuthClient, secret: str) -> bool:
    return hmac.compare_digest(client.secret_digest, tokens.compute_digest(secret))


async def require_delegation(session: AsyncSession, client: OAuthClient, user_id: UUID) -> None:
    """Raises DelegationDenied unless the client may act for users, and this user is active."""
    active_user = select(Account.id).where(Account.id == user_id, Account.can_log_in)
    if DELEGATE_PERMISSION not in client.permissions:
        reason = f"This needs the permission {DELEGATE_PERMISSION}"
    elif await session.scalar(active_user) is None:
        reason = "on_behalf_of is not the id of an active user"
    else:
        return
    client_id = client.client_id
    audit.record(
        session, "client.delegation_denied", subject=user_id, client_id=client_id, reason=reason
    )
    raise DelegationDenied(reason)
