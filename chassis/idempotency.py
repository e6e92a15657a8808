"""Idempotency-Key on creating POSTs: the same key and body get the same response, for 24 hours.

The response is stored in the transaction that does the work, so both exist or neither. During the
request, an advisory lock of that transaction holds the key; PostgreSQL releases it with the
connection, so a killed process leaves nothing behind. Each caller has keys of their own.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Annotated, Any, NamedTuple

import sqlalchemy as sa
from fastapi import Depends, Header, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from .auth import get_current_user
from .errors import Conflict, Unauthenticated, Unprocessable
from .openapi import raises, sends

KEY_RETENTION = timedelta(hours=24)
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A unique text: a repeated request with it gets the first one's response.",
        examples=["5b2f7d0c-8f0e-4f5c-9a53-6b7a4f1d2c3e"],
    ),
]
FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")


class StillRunning(Conflict):
    """Raised while the first request with this key is running."""


class KeyReused(Unprocessable):
    """Raised when the key was used with a different request."""


class Replay(Exception):
    """Ends a request with the stored response of the first one with its key."""

    def __init__(self, response: Response) -> None:
        self.response = response


def define_keys_table(metadata: sa.MetaData) -> sa.Table:
    """Define the table of keys and responses; the service's migration creates it."""
    return sa.Table(
        "idempotency_keys",
        metadata,
        sa.Column("caller", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("headers", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Index("ix_idempotency_keys_created_at", "created_at"),
    )


KEYS_TABLE = define_keys_table(sa.MetaData())


class KeyedRequest(NamedTuple):
    """Identifies a request with a key."""

    caller: str
    key: str
    fingerprint: str


def take_key(session: Session, request: KeyedRequest) -> None:
    """Lock the key for this transaction, or raise Replay, KeyReused or StillRunning."""
    number = sa.func.hashtextextended(request.caller + request.key, 0)
    if not session.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(number))):
        raise StillRunning("A request with this Idempotency-Key is still running; retry later")
    is_mine = (KEYS_TABLE.c.caller == request.caller) & (KEYS_TABLE.c.key == request.key)
    is_kept = KEYS_TABLE.c.created_at >= sa.func.now() - KEY_RETENTION
    found = session.execute(sa.select(KEYS_TABLE).where(is_mine, is_kept)).one_or_none()
    if found is None:
        return
    if found.fingerprint != request.fingerprint:
        raise KeyReused("This Idempotency-Key was used with a different request; use a new key")
    headers = {**json.loads(found.headers), "Idempotent-Replayed": "true"}
    raise Replay(Response(found.body, found.status_code, headers))


def store_response(session: Session, request: KeyedRequest, response: Response) -> None:
    session.execute(
        sa.delete(KEYS_TABLE).where(KEYS_TABLE.c.created_at < sa.func.now() - KEY_RETENTION)
    )
    kept = ("content-type", "location", "etag")
    answer = {
        "status_code": response.status_code,
        "headers": json.dumps({n: v for n, v in response.headers.items() if n in kept}),
        "body": bytes(response.body),
    }
    session.execute(sa.insert(KEYS_TABLE).values(**request._asdict(), **answer))


async def run_in_session(
    session: Session | AsyncSession, function: Callable[..., None], *args: Any
) -> None:
    """Run a function of a sync Session, in a thread unless the session is async."""
    if isinstance(session, AsyncSession):
        await session.run_sync(function, *args)
    else:
        await run_in_threadpool(function, session, *args)


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def replay_or_store(handler: Handler) -> Handler:
    """Wrap a route's handler: store the response while the request's session is still open."""

    async def handle(request: Request) -> Response:
        try:
            response = await handler(request)
        except Replay as replay:
            return replay.response
        store = getattr(request.state, "store_response", None)
        if store is not None and response.status_code < 300:
            await store(response)
        return response

    return handle


def idempotent(db_session: Any) -> Any:
    """Make a dependency for creating POSTs, on routes of chassis.routing.

    `db_session` is the service's DbSession: the response is stored in the endpoint's session.
    """

    @raises(StillRunning, KeyReused, Unauthenticated)
    @sends("Idempotent-Replayed")
    async def check_key(
        request: Request,
        session: db_session,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        if idempotency_key is None:
            return
        caller = await get_key_owner(request)
        keyed = KeyedRequest(caller, idempotency_key, await compute_fingerprint(request))
        await run_in_session(session, take_key, keyed)
        request.state.store_response = partial(run_in_session, session, store_response, keyed)

    return Depends(check_key)


async def get_key_owner(request: Request) -> str:
    """Return the user's id, or `anonymous` for a request without a token."""
    if "authorization" not in request.headers:
        return "anonymous"
    return (await get_current_user(request)).user_id


async def compute_fingerprint(request: Request) -> str:
    """Compute an HMAC of the method, the path and the whole body, with files and fields."""
    # An unkeyed hash of a body with a password would allow offline guessing.
    secret = request.app.state.settings.jwt_secret_key.get_secret_value().encode()
    digest = hmac.new(secret, f"{request.method} {request.url.path}\n".encode(), "sha256")
    if not request.headers.get("content-type", "").lower().startswith(FORM_TYPES):
        digest.update(await request.body())
        return digest.hexdigest()
    for name, value in (await request.form()).multi_items():
        digest.update(f"\n{name}={getattr(value, 'filename', value)}\n".encode())
        if isinstance(value, UploadFile):
            content: Any = value.file
            digest.update(hashlib.file_digest(content, "sha256").digest())
            await value.seek(0)
    return digest.hexdigest()
