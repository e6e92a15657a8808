"""Idempotency-Key: what a client may safely send again, with a sync and with an async session."""

import asyncio
import hashlib
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
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

SETTINGS = toy_settings(database_pool_size=3, database_max_overflow=2)
POOL = {"pool_size": 3, "max_overflow": 2, "pool_timeout": 5}


class NoSuchLuck(Conflict):
    """What makes an attempt fail after it wrote."""


class Bench:
    """The toy service's own trouble, which a test can switch on."""

    def __init__(self, identity: FakeIdentity) -> None:
        self.identity = identity
        self.fails: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Semaphore(0)


def insert(session: Session, title: str, bench: Bench) -> str:
    note_id = uuid.uuid4()
    session.execute(sa.insert(NOTES).values(id=note_id, title=title))
    bench.inside.release()
    bench.gate.wait(5)
    if bench.fails:
        raise bench.fails
    return str(note_id)


def with_sync_sessions(database_url: str, bench: Bench) -> tuple[APIRouter, Callable[[], Any]]:
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
        note_id = insert(session, note["title"], bench)
        response.headers["Location"] = f"/notes/{note_id}"
        return {"id": note_id}

    @router.post("/mine", status_code=201, dependencies=[once])
    def write_mine(note: dict[str, str], user: CurrentUser, session: DbSession) -> dict[str, str]:
        return {"id": insert(session, note["title"], bench), "owner": user.user_id}

    @router.post("/files", status_code=201, dependencies=[once])
    def upload(
        file: Annotated[UploadFile, File()], title: Annotated[str, Form()], session: DbSession
    ) -> dict[str, str]:
        digest = hashlib.sha256(file.file.read()).hexdigest()
        return {"id": insert(session, title, bench), "sha256": digest}

    @router.post("/forms", status_code=201, dependencies=[once])
    def fill_in(title: Annotated[str, Form()], session: DbSession) -> dict[str, str]:
        return {"id": insert(session, title, bench)}

    async def dispose() -> None:
        engine.dispose()

    return router, dispose


def with_async_sessions(database_url: str, bench: Bench) -> tuple[APIRouter, Callable[[], Any]]:
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
        bench.inside.release()
        while not bench.gate.is_set():
            await asyncio.sleep(0.01)
        if bench.fails:
            raise bench.fails
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


@pytest.fixture(params=[with_sync_sessions, with_async_sessions])
async def toy(
    request: pytest.FixtureRequest, engine: sa.Engine, database_url: str
) -> AsyncIterator[tuple[httpx.AsyncClient, Bench]]:
    """The toy service over HTTP, with its bench."""
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.delete(KEYS))
        connection.execute(sa.delete(NOTES))
    bench = Bench(FakeIdentity())
    router, dispose = request.param(database_url, bench)
    async with running(router, bench) as client:
        yield client, bench
    await dispose()


@asynccontextmanager
async def running(router: APIRouter, bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = create_app(SETTINGS)
    app.state.transport = bench.identity
    app.include_router(router, prefix="/api/v1")
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://toy/api/v1") as client,
    ):
        yield client


Toy = tuple[httpx.AsyncClient, Bench]


def post(client: httpx.AsyncClient, key: str | None, title: str, who: Person | None = None) -> Any:
    headers = ({"Idempotency-Key": key} if key else {}) | (who.headers if who else {})
    return client.post("/mine" if who else "/notes", json={"title": title}, headers=headers)


def titles(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.scalars(sa.select(NOTES.c.title).order_by(NOTES.c.title)))


async def test_a_repeated_request_gets_the_same_response(toy: Toy, engine: sa.Engine) -> None:
    client, _ = toy

    first = await post(client, "key-1", "Notes")
    again = await post(client, "key-1", "Notes")

    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.headers["Location"] == again.headers["Location"]
    assert first.headers["Content-Type"] == again.headers["Content-Type"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["X-Trace-ID"] != again.headers["X-Trace-ID"]
    assert titles(engine) == ["Notes"]


async def test_without_a_key_no_response_is_stored(toy: Toy, engine: sa.Engine) -> None:
    client, _ = toy

    assert (await post(client, None, "One")).status_code == 201
    assert (await post(client, None, "Two")).status_code == 201

    assert titles(engine) == ["One", "Two"]
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(KEYS)) == 0


async def test_a_key_with_another_body_or_path_is_422(toy: Toy, engine: sa.Engine) -> None:
    client, bench = toy
    ada = bench.identity.add_person()

    await post(client, "key-1", "Notes", ada)
    other_body = await post(client, "key-1", "Other notes", ada)
    other_path = await client.post(
        "/notes", json={"title": "Notes"}, headers={"Idempotency-Key": "key-1", **ada.headers}
    )

    for response in (other_body, other_path):
        assert response.status_code == 422
        assert response.json()["code"] == "KeyReused"
    assert titles(engine) == ["Notes"]


async def test_each_caller_has_keys_of_their_own(toy: Toy, engine: sa.Engine) -> None:
    client, bench = toy
    ada, bob = bench.identity.add_person(), bench.identity.add_person()

    hers = await post(client, "key-1", "Hers", ada)
    his = await post(client, "key-1", "His", bob)

    assert hers.json()["owner"] == ada.user_id
    assert his.json()["owner"] == bob.user_id
    assert titles(engine) == ["Hers", "His"]


async def test_a_new_token_of_the_same_user_gets_the_stored_response(toy: Toy) -> None:
    client, bench = toy
    ada = bench.identity.add_person()
    ada_again = bench.identity.add_person(user_id=ada.user_id)

    await post(client, "key-1", "Hers", ada)
    again = await post(client, "key-1", "Hers", ada_again)

    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_bad_token_gets_no_stored_response(toy: Toy) -> None:
    client, bench = toy
    ada = bench.identity.add_person()
    await post(client, "key-1", "Hers", ada)
    stranger = Person(ada.user_id, ada.email, "garbage")

    assert (await post(client, "key-1", "Hers", stranger)).status_code == 401


async def test_while_the_first_is_running_the_second_is_409(toy: Toy, engine: sa.Engine) -> None:
    client, bench = toy
    bench.gate.clear()

    first = asyncio.create_task(post(client, "key-1", "Notes"))
    await asyncio.to_thread(bench.inside.acquire, timeout=5)
    second = await post(client, "key-1", "Notes")
    bench.gate.set()

    assert second.status_code == 409
    assert second.json()["code"] == "StillRunning"
    assert (await first).status_code == 201
    assert titles(engine) == ["Notes"]


async def test_of_many_requests_at_once_one_does_the_work(toy: Toy, engine: sa.Engine) -> None:
    client, _ = toy

    responses = await asyncio.gather(*(post(client, "key-1", "Notes") for _ in range(20)))

    assert {response.status_code for response in responses} <= {201, 409}
    assert len({response.json().get("id") for response in responses} - {None}) == 1
    assert titles(engine) == ["Notes"]


async def test_more_requests_than_connections_wait_for_each_other(toy: Toy) -> None:
    client, _ = toy

    async with asyncio.timeout(10):
        responses = await asyncio.gather(
            *(post(client, f"key-{n}" if n % 3 else None, f"Note {n}") for n in range(40))
        )

    assert {response.status_code for response in responses} == {201}


@pytest.mark.parametrize(
    ("error", "status"), [(NoSuchLuck("Not this time"), 409), (RuntimeError("bug"), 500)]
)
async def test_a_failed_request_can_be_repeated(
    toy: Toy, engine: sa.Engine, error: Exception, status: int
) -> None:
    client, bench = toy
    bench.fails = error

    failed = await post(client, "key-1", "Notes")
    assert (failed.status_code, titles(engine)) == (status, [])

    bench.fails = None
    repeated = await post(client, "key-1", "Notes")

    assert repeated.status_code == 201
    assert "Idempotent-Replayed" not in repeated.headers
    assert titles(engine) == ["Notes"]


async def test_a_process_killed_in_the_middle_leaves_nothing(toy: Toy, engine: sa.Engine) -> None:
    client, bench = toy
    bench.gate.clear()
    first = asyncio.create_task(post(client, "key-1", "Notes"))
    await asyncio.to_thread(bench.inside.acquire, timeout=5)

    with engine.begin() as connection:  # PostgreSQL sees a kill -9 as this: the connection ends
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND state = 'idle in transaction'"
            )
        )
    bench.gate.set()
    assert (await first).status_code in (500, 503)
    repeated = await post(client, "key-1", "Notes")

    assert repeated.status_code == 201
    assert "Idempotent-Replayed" not in repeated.headers
    assert titles(engine) == ["Notes"]


async def test_a_key_is_forgotten_after_a_day(toy: Toy, engine: sa.Engine) -> None:
    client, _ = toy
    await post(client, "young", "Young")
    await post(client, "old", "Old")
    age(engine, "young", hours=23)
    age(engine, "old", hours=25)

    young = await post(client, "young", "Young")
    old = await post(client, "old", "New")

    assert young.headers["Idempotent-Replayed"] == "true"
    assert old.status_code == 201
    assert "Idempotent-Replayed" not in old.headers
    assert titles(engine) == ["New", "Old", "Young"]


def age(engine: sa.Engine, key: str, *, hours: int) -> None:
    with engine.begin() as connection:
        created_at = sa.func.now() - sa.text(f"interval '{hours} hours'")
        connection.execute(sa.update(KEYS).where(KEYS.c.key == key).values(created_at=created_at))


async def test_an_upload_is_recognised_by_its_content_not_its_boundary(
    toy: Toy, engine: sa.Engine
) -> None:
    client, _ = toy
    headers = {"Idempotency-Key": "key-1"}

    async def upload(content: bytes, name: str = "a.txt", title: str = "A file") -> httpx.Response:
        return await client.post(
            "/files", files={"file": (name, content)}, data={"title": title}, headers=headers
        )

    first = await upload(b"content")
    again = await upload(b"content")
    others = [
        await upload(b"other content"),
        await upload(b"content", name="b.txt"),
        await upload(b"content", title="Another title"),
    ]

    assert first.json()["sha256"] == hashlib.sha256(b"content").hexdigest()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert [response.status_code for response in others] == [422] * 3
    assert titles(engine) == ["A file"]


async def test_an_ordinary_form_works_too(toy: Toy) -> None:
    client, _ = toy

    async def fill_in(title: str) -> httpx.Response:
        return await client.post(
            "/forms", data={"title": title}, headers={"Idempotency-Key": "key-1"}
        )

    first, again, other = await fill_in("A"), await fill_in("A"), await fill_in("B")

    assert first.status_code == 201
    assert again.headers["Idempotent-Replayed"] == "true"
    assert other.status_code == 422


@pytest.mark.parametrize("path", ["/notes", "/files", "/forms"])
@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "text/plain",
    ],
)
async def test_a_body_of_another_kind_is_refused(toy: Toy, path: str, kind: str) -> None:
    client, _ = toy

    response = await client.post(
        path, content=b"--x", headers={"Content-Type": kind, "Idempotency-Key": "key-1"}
    )

    assert response.status_code in (400, 422)


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", b"\xfc", "tab\there"])
async def test_a_malformed_key_is_refused_by_name(toy: Toy, key: Any) -> None:
    client, _ = toy

    response = await client.post("/notes", json={"title": "x"}, headers={"Idempotency-Key": key})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "idempotency-key"


async def test_a_key_of_maximum_length_is_accepted(toy: Toy) -> None:
    client, _ = toy

    assert (await post(client, "x" * 255, "Notes")).status_code == 201
