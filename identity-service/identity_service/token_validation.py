"""Validates tokens, with one SQL statement per type of token; each returns a row per role."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import Executable, Row, bindparam, func, literal, null, or_, select, true, update
from sqlalchemy.exc import DBAPIError

from chassis.auth import USER_ADAPTER, User
from chassis.clock import now

from .crypto.tokens import InvalidToken, TokenType, compute_digest, decode_token, is_api_key
from .database import autocommit_engine
from .models import Account, ApiKey, LoginSession, OAuthClient, Role, user_roles
from .settings import settings

DELEGATE_PERMISSION = "auth:delegate"

Rows = Sequence[Row[Any]]

SELECT_USER = (
    select(
        Account.id.label("user_id"),
        Account.email,
        Account.is_verified,
        Role.name.label("role"),
        Role.effective_permissions.label("permissions"),
    )
    .outerjoin_from(Account, user_roles)
    .outerjoin(Role)
    .where(Account.can_log_in)
    .order_by(Role.name)
)
SELECT_USER_BY_ID = SELECT_USER.where(Account.id == bindparam("subject"))

STATEMENTS_BY_TOKEN_TYPE: dict[TokenType, Executable] = {
    TokenType.ACCESS: SELECT_USER_BY_ID.add_columns(null().label("actor"))
    .join(LoginSession, LoginSession.user_id == Account.id)
    .where(LoginSession.id == bindparam("session_id"), LoginSession.expires_at > func.now()),
    TokenType.DELEGATED: SELECT_USER_BY_ID.add_columns(OAuthClient.client_id.label("actor"))
    .join(OAuthClient, OAuthClient.id == bindparam("session_id"))
    .where(OAuthClient.permissions.contains([DELEGATE_PERMISSION])),
    TokenType.SERVICE: select(
        OAuthClient.id.label("user_id"),
        null().label("email"),
        true().label("is_verified"),
        literal("service").label("role"),
        OAuthClient.permissions,
        null().label("actor"),
    ).where(OAuthClient.id == bindparam("subject"), OAuthClient.id == bindparam("session_id")),
}

KEY_COLUMNS = (ApiKey.id.label("key_id"), ApiKey.scopes, ApiKey.expires_at, ApiKey.last_used_at)
SELECT_BY_API_KEY = (
    SELECT_USER.add_columns(null().label("actor"), *KEY_COLUMNS)
    .join(ApiKey, ApiKey.user_id == Account.id)
    .where(ApiKey.digest == bindparam("digest"))
    .where(or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()))
)
# Services validate a cached API key again after this time, which keeps `last_used_at` up to date.
API_KEY_CACHE_TIME = timedelta(minutes=5)
LAST_USED_PRECISION = timedelta(minutes=1)
FAR_FUTURE = datetime.max.replace(tzinfo=UTC)


class TokenDescription(TypedDict):
    """The response of /auth/validate; schemas.tokens.ValidatedToken documents its fields."""

    valid: bool
    is_valid: bool
    user_id: str
    email: str | None
    roles: list[str]
    permissions: list[str]
    session_id: str
    expires_at: str
    is_verified: bool
    actor: str | None


class TokenValidator:
    """Validates tokens against the database, for /auth/validate and for this service itself."""

    def __init__(self) -> None:
        # Serves validations in order, which the pool does not, and leaves connections to the rest.
        self._slots = asyncio.Semaphore(settings.database_pool_size)

    async def validate(self, token: str) -> TokenDescription:
        """Raises InvalidToken."""
        if is_api_key(token):
            return await self._validate_api_key(token)
        claims = decode_token(token)
        parameters = {"subject": claims.subject, "session_id": claims.session_id}
        rows = await self._fetch_rows(STATEMENTS_BY_TOKEN_TYPE[claims.token_type], parameters)
        return describe_token(rows, claims.session_id, claims.expires_at)

    async def authenticate(self, token: str) -> User:
        """Raises InvalidToken."""
        return USER_ADAPTER.validate_python(await self.validate(token))

    async def _validate_api_key(self, key: str) -> TokenDescription:
        rows = await self._fetch_rows(SELECT_BY_API_KEY, {"digest": compute_digest(key)})
        found = rows[0]
        if found.last_used_at is None or now() - found.last_used_at > LAST_USED_PRECISION:
            await record_api_key_use(found.key_id)
        expires_at = min(found.expires_at or FAR_FUTURE, now() + API_KEY_CACHE_TIME)
        description = describe_token(rows, found.key_id, expires_at)
        description["permissions"] = limit_to_scopes(description["permissions"], found.scopes)
        return description

    async def _fetch_rows(self, statement: Executable, parameters: dict[str, Any]) -> Rows:
        """Raises InvalidToken when there is no row."""
        async with self._slots:
            try:
                rows = await execute_statement(statement, parameters)
            except DBAPIError as error:
                # A restarted database has dropped every connection; the pool now opens new ones.
                if not error.connection_invalidated:
                    raise
                rows = await execute_statement(statement, parameters)
        if not rows:
            raise InvalidToken
        return rows


async def execute_statement(statement: Executable, parameters: dict[str, Any]) -> Rows:
    async with autocommit_engine.connect() as connection:
        return (await connection.execute(statement, parameters)).all()


async def record_api_key_use(key_id: UUID) -> None:
    async with autocommit_engine.connect() as connection:
        used = update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=func.now())
        await connection.execute(used)


def limit_to_scopes(permissions: list[str], scopes: list[str]) -> list[str]:
    """Returns the permissions of a key: those that its owner has now and its scopes include."""
    if "*" in permissions:
        return sorted(scopes)
    return permissions if "*" in scopes else sorted({*permissions} & {*scopes})


def describe_token(rows: Rows, session_id: UUID, expires_at: datetime) -> TokenDescription:
    first = rows[0]
    return {
        "valid": True,
        "is_valid": True,
        "user_id": str(first.user_id),
        "email": first.email,
        "roles": [row.role for row in rows if row.role],
        "permissions": sorted({name for row in rows for name in row.permissions or ()}),
        "session_id": str(session_id),
        "expires_at": expires_at.isoformat(),
        "is_verified": first.is_verified,
        "actor": first.actor,
    }


def get_token_validator(app: FastAPI) -> TokenValidator:
    validator: TokenValidator = app.state.token_validator
    return validator


@asynccontextmanager
async def local_authentication(app: FastAPI) -> AsyncIterator[None]:
    """Authenticates from the own database; other services use chassis.auth instead."""
    validator = TokenValidator()
    app.state.token_validator = validator
    app.state.authenticate = validator.authenticate
    yield
