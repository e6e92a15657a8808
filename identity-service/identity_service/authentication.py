"""Whom a token speaks for and what they may do, as the database has it now: the hot path.

One statement per kind of token, each with the same columns; a row per role.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from sqlalchemy import Executable, Row, bindparam, func, literal, null, select, true
from sqlalchemy.exc import DBAPIError

from chassis.auth import USER, CurrentUser, User
from chassis.errors import Forbidden

from .database import reader
from .models import Account, Client, LoginSession, Role, user_roles
from .settings import settings
from .tokens import Claims, InvalidToken, Kind, read

DELEGATE = "auth:delegate"

PERSON = (
    select(
        Account.id.label("user_id"),
        Account.email,
        Account.is_verified,
        Role.name.label("role"),
        Role.permissions,
    )
    .outerjoin_from(Account, user_roles)
    .outerjoin(Role)
    .where(Account.id == bindparam("subject"), Account.is_let_in)
    .order_by(Role.name)
)

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


class Identifier:
    """Answers whom a token speaks for."""

    def __init__(self) -> None:
        # First come, first served, which the pool is not; and it leaves the rest some connections.
        self._turns = asyncio.Semaphore(settings.database_pool_size)

    async def __call__(self, token: str) -> dict[str, Any]:
        """What /auth/validate answers. Raises InvalidToken."""
        claims = read(token)
        async with self._turns:
            try:
                rows = await ask(claims)
            except DBAPIError as error:
                # A restarted database drops every connection: once is enough to notice.
                if not error.connection_invalidated:
                    raise
                rows = await ask(claims)
        if not rows:
            raise InvalidToken
        return answer(claims, rows)

    async def user(self, token: str) -> User:
        return USER.validate_python(await self(token))


async def ask(claims: Claims) -> Sequence[Row[Any]]:
    parameters = {"subject": claims.subject, "session_id": claims.session_id}
    async with reader.connect() as connection:
        found = await connection.execute(STATEMENTS[claims.kind], parameters)
        return found.all()


def answer(claims: Claims, rows: Sequence[Row[Any]]) -> dict[str, Any]:
    first = rows[0]
    return {
        "valid": True,
        "is_valid": True,
        "user_id": str(first.user_id),
        "email": first.email,
        "roles": [row.role for row in rows if row.role],
        "permissions": sorted({name for row in rows for name in row.permissions or ()}),
        "session_id": str(claims.session_id),
        "expires_at": claims.expires_at.isoformat(),
        "is_verified": first.is_verified,
        "actor": first.actor,
    }


@asynccontextmanager
async def locally(app: FastAPI) -> AsyncIterator[None]:
    """Identity asks itself; every other service has chassis.auth.through_identity."""
    app.state.identify = Identifier()
    app.state.authenticate = app.state.identify.user
    yield


async def in_person(user: CurrentUser) -> User:
    if user.is_service or user.actor:
        raise Forbidden("Only people do this for themselves, not services")
    return user


Person = Annotated[User, Depends(in_person)]
"""Somebody with a session of their own: no service, and none acting for them."""
