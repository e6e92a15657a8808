"""The toy service with idempotent routes, on a sync and on an async session."""

import asyncio
import hashlib
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import sqlalchemy as sa
from fastapi import Depends, FastAPI, File, Form, Response, UploadFile
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from chassis.app import create_app
from chassis.auth import CurrentUser
from chassis.errors import Conflict
from chassis.idempotency import define_keys_table, idempotent
from chassis.routing import APIRouter
from tools.localdev.fake_identity import FakeIdentity, Person

from .toy import toy_settings

METADATA = sa.MetaData()
KEYS = define_keys_table(METADATA)
NOTES = sa.Table(
    "idempotent_notes",
    METADATA,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("title", sa.String, unique=True),
)

Service = tuple[APIRouter, Callable[[], Any]]
SETTINGS = toy_settings(database_pool_size=3, database_max_overflow=2)
POOL = {"pool_size": 3, "max_overflow": 2, "pool_timeout": 5}


class SimulatedConflict(Conflict):
    """Fails a request after it wrote."""


class FaultInjector:
    """Lets a test delay or fail the requests of the toy service."""

    def __init__(self, identity: FakeIdentity) -> None:
        self.identity = identity
        self.fails: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Semaphore(0)


def insert(session: Session, title: str, faults: FaultInjector) -> str:
    note_id = uuid.uuid4()
    session.execute(sa.insert(NOTES).values(id=note_id, title=title))
    faults.inside.release()
    faults.gate.wait(5)
    if faults.fails:
        raise faults.fails
    return str(note_id)


def with_sync_sessions(database_url: str, faults: FaultInjector) -> Service:
    engine = sa.create_engine(database_url, **POOL)

    def get_db_session() -> Iterator[Session]:
        with Session(engine) as session, session.begin():
            yield session

    in_turn = Depends(
        get_db_session, scope="function", max_concurrency=SETTINGS.max_concurrent_sessions
    )
    DbSession = Annotated[Session, in_turn]
    router = APIRouter()
    once = idempotent(DbSession)

    @router.post("/notes", status_code=201, dependencies=[once])
    def write(note: dict[str, str], response: Response, session: DbSession) -> dict[str, str]:
        note_id = insert(session, note["title"], faults)
        response.headers["Location"] = f"/notes/{note_id}"
        return {"id": note_id}

    @router.post("/mine", status_code=201, dependencies=[once])
    def write_mine(note: dict[str, str], user: CurrentUser, session: DbSession) -> dict[str, str]:
        return {"id": insert(session, note["title"], faults), "owner": user.user_id}

    @router.post("/files", status_code=201, dependencies=[once])
    def upload(
        file: Annotated[UploadFile, File()], title: Annotated[str, Form()], session: DbSession
    ) -> dict[str, str]:
        digest = hashlib.sha256(file.file.read()).hexdigest()
        return {"id": insert(session, title, faults), "sha256": digest}

    @router.post("/forms", status_code=201, dependencies=[once])
    def fill_in(title: Annotated[str, Form()], session: DbSession) -> dict[str, str]:
        return {"id": insert(session, title, faults)}

    async def dispose() -> None:
        engine.dispose()

    return router, dispose


def with_async_sessions(database_url: str, faults: FaultInjector) -> Service:
    engine = create_async_engine(database_url.replace("psycopg2", "asyncpg"), **POOL)

    async def get_db_session() -> AsyncIterator[AsyncSession]:
        async with AsyncSession(engine) as session, session.begin():
            yield session

    in_turn = Depends(
        get_db_session, scope="function", max_concurrency=SETTINGS.max_concurrent_sessions
    )
    DbSession = Annotated[AsyncSession, in_turn]
    router = APIRouter()
    once = idempotent(DbSession)

    async def insert_async(session: AsyncSession, title: str) -> str:
        note_id = uuid.uuid4()
        await session.execute(sa.insert(NOTES).values(id=note_id, title=title))
        faults.inside.release()
        while not faults.gate.is_set():
            await asyncio.sleep(0.01)
        if faults.fails:
            raise faults.fails
        return str(note_id)

    @router.post("/notes", status_code=201, dependencies=[once])
    async def write(note: dict[str, str], response: Response, session: DbSession) -> dict[str, str]:
        note_id = await insert_async(session, note["title"])
        response.headers["Location"] = f"/notes/{note_id}"
        return {"id": note_id}

    @router.post("/mine", status_code=201, dependencies=[once])
    async def write_mine(
        note: dict[str, str], user: CurrentUser, session: DbSession
    ) -> dict[str, str]:
        return {"id": await insert_async(session, note["title"]), "owner": user.user_id}

    @router.post("/files", status_code=201, dependencies=[once])
    async def upload(
        file: Annotated[UploadFile, File()], title: Annotated[str, Form()], session: DbSession
    ) -> dict[str, str]:
        digest = hashlib.sha256(await file.read()).hexdigest()
        return {"id": await insert_async(session, title), "sha256": digest}

    @router.post("/forms", status_code=201, dependencies=[once])
    async def fill_in(title: Annotated[str, Form()], session: DbSession) -> dict[str, str]:
        return {"id": await insert_async(session, title)}

    return router, engine.dispose


@asynccontextmanager
async def running(router: APIRouter, faults: FaultInjector) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = create_app(SETTINGS)
    app.state.transport = faults.identity
    app.include_router(router, prefix="/api/v1")
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://toy/api/v1") as client,
    ):
        yield client


Toy = tuple[httpx.AsyncClient, FaultInjector]


def post(client: httpx.AsyncClient, key: str | None, title: str, who: Person | None = None) -> Any:
    headers = ({"Idempotency-Key": key} if key else {}) | (who.headers if who else {})
    return client.post("/mine" if who else "/notes", json={"title": title}, headers=headers)


def titles(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(NOTES.c.title).order_by(NOTES.c.title)))
