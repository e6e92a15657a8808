"""Whom a token speaks for and what they may do, as the database has it now: the hot path.

One statement per kind of token, each with the same columns; a row per role.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from sqlalchemy import (
    Executable,
    Row,
    bindparam,
    func,
    literal,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import DBAPIError

from chassis.auth import USER_ADAPTER, User

from .crypto.tokens import InvalidToken, Kind, digest, is_api_key, read
from .database import now, reader
from .models import Account, ApiKey, Client, LoginSession, Role, user_roles
from .settings import settings

DELEGATE = "auth:delegate"

PERSON_COLUMNS = (
    select(
        Account.id.label("user_id"),
        Account.email,
        Account.is_verified,
        Role.name.label("role"),
        Role.effective_permissions.label("permissions"),
    )
    .outerjoin_from(Account, user_roles)
    .outerjoin(Role)
    .where(Account.is_let_in)
    .order_by(Role.name)
)
PERSON = PERSON_COLUMNS.where(Account.id == bindparam("subject"))

STATEMENTS: dict[Kind, Executable] = {
    Kind.ACCESS: PERSON.add_columns(null().label("actor"))
    .join(LoginSession, LoginSession.user_id == Account.id)
    .where(LoginSession.id == bindparam("session_id"), LoginSession.expires_at > func.now()),
    Kind.DELEGATED: PERSON.add_columns(Client.client_id.label("actor"))
    .join(Client, Client.id == bindparam("session_id"))
    .where(Client.permissions.contains([DELEGATE])),
    Kind.SERVICE: select(
        Client.id.label("user_id"),
        null().label("email"),
        true().label("is_verified"),
        literal("service").label("role"),
        Client.permissions,
        null().label("actor"),
    ).where(Client.id == bindparam("subject"), Client.id == bindparam("session_id")),
}


OF_KEY = (
    PERSON_COLUMNS.add_columns(
        null().label("actor"),
        ApiKey.id.label("key_id"),
        ApiKey.scopes,
        ApiKey.expires_at,
        ApiKey.last_used_at,
    )
    .join(ApiKey, ApiKey.user_id == Account.id)
    .where(ApiKey.digest == bindparam("digest"))
    .where(or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()))
)
# Services that keep an answer ask again after this, which is how the use of a key is noticed.
KEY_KEPT = timedelta(minutes=5)
USE_NOTED_EVERY = timedelta(minutes=1)
LATEST = datetime.max.replace(tzinfo=UTC)


class Identifier:
    """Answers whom a token speaks for."""

    def __init__(self) -> None:
        # First come, first served, which the pool is not; and it leaves the rest some connections.
        self._turns = asyncio.Semaphore(settings.database_pool_size)

    async def __call__(self, token: str) -> dict[str, Any]:
        """What /auth/validate answers. Raises InvalidToken."""
        if is_api_key(token):
            return await self._key(token)
        claims = read(token)
        parameters = {"subject": claims.subject, "session_id": claims.session_id}
        rows = await self._ask(STATEMENTS[claims.kind], parameters)
        return answer(rows, claims.session_id, claims.expires_at)

    async def _key(self, key: str) -> dict[str, Any]:
        rows = await self._ask(OF_KEY, {"digest": digest(key)})
        found = rows[0]
        if found.last_used_at is None or now() - found.last_used_at > USE_NOTED_EVERY:
            await note_use(found.key_id)
        said = answer(rows, found.key_id, min(found.expires_at or LATEST, now() + KEY_KEPT))
        return said | {"permissions": narrowed(said["permissions"], found.scopes)}

    async def _ask(self, statement: Executable, parameters: dict[str, Any]) -> Sequence[Row[Any]]:
        """Raises InvalidToken when there is no row."""
        async with self._turns:
            try:
                rows = await ask(statement, parameters)
            except DBAPIError as error:
                # A restarted database drops every connection: once is enough to notice.
                if not error.connection_invalidated:
                    raise
                rows = await ask(statement, parameters)
        if not rows:
            raise InvalidToken
        return rows

    async def user(self, token: str) -> User:
        return USER_ADAPTER.validate_python(await self(token))


async def ask(statement: Executable, parameters: dict[str, Any]) -> Sequence[Row[Any]]:
    async with reader.connect() as connection:
        return (await connection.execute(statement, parameters)).all()


async def note_use(key_id: UUID) -> None:
    async with reader.connect() as connection:
        used = update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=func.now())
        await connection.execute(used)


def narrowed(permissions: list[str], scopes: list[str]) -> list[str]:
    """What a key may do: what its owner may now, as far as its scopes go."""
    if "*" in permissions:
        return sorted(scopes)
    return permissions if "*" in scopes else sorted({*permissions} & {*scopes})


def answer(rows: Sequence[Row[Any]], session_id: UUID, expires_at: datetime) -> dict[str, Any]:
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


@asynccontextmanager
async def locally(app: FastAPI) -> AsyncIterator[None]:
    """Identity asks itself; every other service has chassis.auth.through_identity."""
    app.state.identify = Identifier()
    app.state.authenticate = app.state.identify.user
    yield
