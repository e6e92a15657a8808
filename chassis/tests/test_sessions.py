"""The session of a request, as each service's database.py declares it."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
import sqlalchemy as sa
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from chassis.app import create_app
from tools.localdev.fake_identity import FakeIdentity

from .toy import ToySettings, toy_settings

SETTINGS = toy_settings(database_pool_size=2, database_max_overflow=2)

METADATA = sa.MetaData()
# A deferred constraint fails at commit.
PAIRS = sa.Table(
    "pairs",
    METADATA,
    sa.Column("name", sa.String),
    sa.UniqueConstraint("name", deferrable=True, initially="DEFERRED"),
)


def toy(sessions: sessionmaker[Session], settings: ToySettings = SETTINGS) -> FastAPI:
    app = create_app(settings)
    app.state.transport = FakeIdentity()
    app.state.seen = []

    def get_db_session() -> Iterator[Session]:
        with sessions.begin() as session:
            yield session

    in_turn = Depends(
        get_db_session, scope="function", max_concurrency=settings.max_concurrent_sessions
    )
    DbSession = Annotated[Session, in_turn]

    def tell(name: str) -> None:
        with sessions() as session:  # a separate one sees only committed rows
            app.state.seen.append(session.scalar(sa.select(PAIRS).where(PAIRS.c.name == name)))

    @app.post("/pairs/{name}", status_code=201)
    def write(name: str, session: DbSession, background: BackgroundTasks) -> str:
        session.execute(sa.insert(PAIRS).values(name=name))
        background.add_task(tell, name)
        return name

    @app.get("/pairs")
    def count(session: DbSession) -> dict[str, Any]:
        return {"count": session.scalar(sa.select(sa.func.count()).select_from(PAIRS))}

    @app.get("/pairs/hot")
    def count_without_session() -> dict[str, Any]:
        with sessions.kw["bind"].connect() as connection:
            return {"count": connection.scalar(sa.select(sa.func.count()).select_from(PAIRS))}

    return app


@pytest.fixture
def sessions(database_url: str) -> Iterator[sessionmaker[Session]]:
    engine = sa.create_engine(database_url, pool_size=2, max_overflow=2, pool_timeout=5)
    METADATA.drop_all(engine)
    METADATA.create_all(engine)
    yield sessionmaker(engine)
    engine.dispose()


def test_a_201_means_saved(sessions: sessionmaker[Session]) -> None:
    app = toy(sessions)
    client = TestClient(app)

    assert client.post("/pairs/ada").status_code == 201

    assert client.get("/pairs").json() == {"count": 1}
    assert app.state.seen == ["ada"]  # the background task found it committed


def test_a_commit_that_fails_is_500_and_nothing_runs_after_it(
    sessions: sessionmaker[Session],
) -> None:
    app = toy(sessions)
    client = TestClient(app)
    client.post("/pairs/ada")
    app.state.seen.clear()

    response = client.post("/pairs/ada")

    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert app.state.seen == []
    assert client.get("/pairs").json() == {"count": 1}


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
def test_a_database_that_is_gone_is_503(host: str) -> None:
    engine = sa.create_engine(f"postgresql+psycopg2://toy:canary@{host}/toy")

    assert_unavailable(TestClient(toy(sessionmaker(engine))).get("/pairs"))


@pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid", "silent"])
def test_a_database_that_is_gone_is_503_from_an_async_session_too(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}" if host == "silent" else host
        url = f"postgresql+asyncpg://toy:canary@{host}/toy"
        engine = create_async_engine(url, connect_args={"timeout": 0.3})
        app = create_app(SETTINGS)

        @app.get("/one")
        async def one() -> int | None:
            async with AsyncSession(engine) as session:
                return await session.scalar(sa.select(1))

        assert_unavailable(TestClient(app).get("/one"))


def assert_unavailable(response: Any) -> None:
    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "Retry-After" in response.headers
    assert "canary" not in response.text


async def test_more_requests_than_connections_and_threads_wait_for_each_other(
    sessions: sessionmaker[Session],
) -> None:
    app = toy(sessions)
    transport = httpx.ASGITransport(app)
    paths = ["/pairs", "/pairs", "/pairs/hot"] * 30
    threads = threading.active_count()

    async with (
        asyncio.timeout(20),
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://toy") as client,
    ):
        started = asyncio.get_running_loop().time()
        responses = await asyncio.gather(*(client.get(path) for path in paths))
        took = asyncio.get_running_loop().time() - started

    assert {response.status_code for response in responses} == {200}
    assert took < 4  # no request waited until the pool gave up
    assert threading.active_count() < threads + 20
