"""Health of a service whose dependencies work, fail or hang."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chassis.app import create_app
from chassis.health import (
    CHECK_TIMEOUT_SECONDS,
    Check,
    ReadRevisions,
    build_health_router,
    ping_identity,
    ping_redis,
)
from chassis.migrations import get_revisions
from tools.localdev.fake_identity import FakeIdentity
from tools.localdev.test_servers import TemporaryServers

from .toy import toy_settings


def fine(app: FastAPI) -> None:
    pass


async def fine_too(app: FastAPI) -> None:
    pass


def broken(app: FastAPI) -> None:
    raise OSError("canary: the address and the password")


def current() -> tuple[str | None, str | None]:
    return "0001", "0001"


def toy(
    *,
    redis_url: str = "redis://127.0.0.1:1/0",
    schema: ReadRevisions = current,
    check_timeout: float = CHECK_TIMEOUT_SECONDS,
    **checks: Check,
) -> FastAPI:
    settings = toy_settings(service_version="1.2.3", redis_url=redis_url)
    app = create_app(settings)
    app.state.transport = FakeIdentity()
    checks = {"database": fine, **checks}
    router = build_health_router(settings, checks, schema, check_timeout=check_timeout)
    app.include_router(router)
    return app


def test_health_has_exactly_the_shape_of_the_specification() -> None:
    app = toy(other=fine_too)

    with TestClient(app) as client:
        report = client.get("/health").json()

    metrics = report.pop("metrics")
    assert report == {
        "service": "toy-service",
        "status": "healthy",
        "version": "1.2.3",
        "port": 8009,
        "dependencies": {"database": "healthy", "other": "healthy"},
    }
    assert metrics.keys() == {"uptime_seconds", "active_connections", "memory_usage_mb"}
    assert metrics["active_connections"] == 1
    assert 0 <= metrics["uptime_seconds"] < 60
    assert 20 < metrics["memory_usage_mb"] < 2000


def test_a_failing_check_degrades_and_reveals_only_its_name() -> None:
    response = TestClient(toy(storage=broken)).get("/health")

    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert response.json()["dependencies"] == {"database": "healthy", "storage": "unhealthy"}
    assert "canary" not in response.text


def test_redis_and_identity_are_checked(servers: TemporaryServers) -> None:
    app = toy(redis_url=servers.redis.get_url(), redis=ping_redis, identity=ping_identity)

    with TestClient(app) as client:
        healthy = client.get("/health").json()["dependencies"]
        app.state.transport.is_down = True
        time.sleep(1.1)  # a report is cached for a second
        degraded = client.get("/health").json()["dependencies"]

    assert healthy == {"database": "healthy", "redis": "healthy", "identity": "healthy"}
    assert degraded == {"database": "healthy", "redis": "healthy", "identity": "unhealthy"}


def test_health_answers_without_lifespan() -> None:
    app = toy(redis=ping_redis, identity=ping_identity)

    response = TestClient(app).get("/health")

    assert response.status_code == 200
    assert response.json()["dependencies"]["redis"] == "unhealthy"


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://toy") as client,
    ):
        yield client


async def test_checks_run_in_parallel_and_once_for_many_probes() -> None:
    calls = []

    async def slow(app: FastAPI) -> None:
        calls.append("slow")
        await asyncio.sleep(1)

    def slow_too(app: FastAPI) -> None:
        calls.append("slow too")
        time.sleep(1)

    async with running(toy(slow=slow, slow_too=slow_too)) as client:
        started = monotonic()
        responses = await asyncio.gather(*(client.get("/health") for _ in range(20)))
        assert monotonic() - started < 1.9
        assert (await client.get("/health")).json()["status"] == "healthy"

    assert {response.json()["status"] for response in responses} == {"healthy"}
    assert sorted(calls) == ["slow", "slow too"]


async def test_a_check_that_hangs_is_unhealthy_in_time() -> None:
    async def hangs(app: FastAPI) -> None:
        await asyncio.sleep(60)

    def hangs_too(app: FastAPI) -> None:
        time.sleep(2)

    app = toy(check_timeout=0.2, hangs=hangs, hangs_too=hangs_too, fine=fine_too)
    async with running(app) as client:
        started = monotonic()
        dependencies = (await client.get("/health")).json()["dependencies"]

    assert monotonic() - started < 1.5
    assert dependencies == {
        "database": "healthy",
        "hangs": "unhealthy",
        "hangs_too": "unhealthy",
        "fine": "healthy",
    }


def test_live_is_200_whatever_the_dependencies_do() -> None:
    response = TestClient(toy(storage=broken)).get("/health/live")

    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_ready_tells_the_revision_of_the_schema() -> None:
    response = TestClient(toy()).get("/health/ready")

    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "schema": {"current": "0001", "head": "0001"},
    }


@pytest.mark.parametrize("found", [(None, "0001"), ("0001", "0002"), (None, None)])
def test_another_schema_is_not_ready(found: tuple[str | None, str | None]) -> None:
    response = TestClient(toy(schema=lambda: found)).get("/health/ready")

    assert response.status_code == 503
    assert response.json()["status"] == "not ready"


def test_a_database_that_fails_or_hangs_is_not_ready() -> None:
    def fails() -> tuple[str | None, str | None]:
        raise OSError("canary")

    def hangs() -> tuple[str | None, str | None]:
        time.sleep(0.3)
        return current()

    for schema in (fails, hangs):
        response = TestClient(toy(schema=schema, check_timeout=0.1)).get("/health/ready")
        assert response.status_code == 503
        assert "canary" not in response.text


def test_the_revisions_are_those_of_the_database_and_of_the_folder(
    engine: sa.Engine, tmp_path: Path
) -> None:
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\n")
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions / "0001_first.py").write_text("revision = '0001'\ndown_revision = None\n")
    (versions / "0002_second.py").write_text("revision = '0002'\ndown_revision = '0001'\n")
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version"))
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('0001')"))

    assert get_revisions(engine, tmp_path) == ("0001", "0002")
    shutil.rmtree(versions)  # each probe reads the database, but not the files again
    assert get_revisions(engine, tmp_path) == ("0001", "0002")
