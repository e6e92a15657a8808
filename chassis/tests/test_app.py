"""The app that create_app makes."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chassis.app import create_app
from chassis.service_client import get_ssl_context
from tools.localdev.fake_identity import FakeIdentity
from tools.localdev.servers import HOST, reserve_free_port
from tools.localdev.services import ROOT

from .toy import eventually, toy_settings


def test_the_docs_render_without_internet() -> None:
    client = TestClient(create_app(toy_settings()))

    for page in ("/docs", "/redoc"):
        response = client.get(page)
        assert response.status_code == 200
        assert "https://" not in response.text
    assert client.get("/openapi.json").json()["info"]["title"] == "Toy service API"


def test_named_origins_may_read_our_headers_and_others_may_not() -> None:
    client = TestClient(create_app(toy_settings(cors_allow_origins="https://a.example")))

    ours = client.get("/nowhere", headers={"Origin": "https://a.example"})
    other = client.get("/nowhere", headers={"Origin": "https://b.example"})

    assert ours.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert "X-Trace-ID" in ours.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in other.headers


def test_a_lifespan_runs_inside_that_of_the_chassis() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        assert app.state.redis and app.state.account and app.state.identity
        seen.append("open")
        yield
        seen.append("close")

    app = create_app(toy_settings(), lifespan=lifespan)
    app.state.transport = FakeIdentity()
    with TestClient(app):
        assert seen == ["open"]

    assert seen == ["open", "close"]


MAIN = """
import os
from chassis.app import create_app, serve
from chassis.tests.toy import toy_settings

app = create_app(toy_settings())
app.get("/pid")(os.getpid)
app.get("/version")(lambda: 1)
if __name__ == "__main__":
    serve(app)
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Run MAIN with some variables and return its URL."""
    started = []

    def serve(**variables: str) -> str:
        port = reserve_free_port()
        (tmp_path / "main.py").write_text(MAIN)
        here = {"PYTHONPATH": str(ROOT), "SERVICE_HOST": HOST, "SERVICE_PORT": str(port)}
        command = [sys.executable, "main.py"]
        with (tmp_path / "log").open("wb") as log:
            environment = {**here, **variables}
            started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log))
        return f"http://{HOST}:{port}"

    yield serve
    for process in started:
        process.terminate()
        process.wait()


def test_several_processes_serve_when_web_concurrency_says_so(serve: Callable[..., str]) -> None:
    url = serve(WEB_CONCURRENCY="2")
    seen = set()

    def two_are_seen() -> bool:
        with suppress(httpx.TransportError):
            seen.add(httpx.get(f"{url}/pid", verify=get_ssl_context()).text)
        return len(seen) == 2

    assert eventually(two_are_seen, seconds=30)


def test_changed_code_is_served_when_debug_is_on(serve: Callable[..., str], tmp_path: Path) -> None:
    def serves(version: str) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{url}/version", verify=get_ssl_context()).text == version
        return False

    url = serve(DEBUG="true")
    assert eventually(lambda: serves("1"), seconds=30)
    (tmp_path / "main.py").write_text(MAIN.replace(": 1)", ": 2)"))

    assert eventually(lambda: serves("2"), seconds=30)


def test_the_first_log_line_says_what_the_service_is_and_where(
    serve: Callable[..., str], tmp_path: Path
) -> None:
    url = serve()
    log = tmp_path / "log"

    assert eventually(lambda: "API documentation" in log.read_text(), seconds=30)
    first = json.loads(log.read_text().splitlines()[0])
    assert first["message"] == f"toy-service 1.0.0 starts on {url}, API documentation at /docs"


def test_there_are_as_many_threads_as_connections() -> None:
    app = create_app(toy_settings(database_pool_size=3, database_max_overflow=4))
    app.state.transport = FakeIdentity()

    @app.get("/threads")
    async def threads() -> float:
        return anyio.to_thread.current_default_thread_limiter().total_tokens

    with TestClient(app) as client:
        assert client.get("/threads").json() == 7


def test_a_service_may_authenticate_in_its_own_way() -> None:
    @asynccontextmanager
    async def local_authentication_stub(app: FastAPI) -> AsyncIterator[None]:
        app.state.authenticate = None
        yield

    with TestClient(create_app(toy_settings(), authentication=local_authentication_stub)) as client:
        assert not hasattr(client.app.state, "identity")  # type: ignore[attr-defined]


def test_a_service_starts_and_stops_with_nothing_else_running() -> None:
    settings = toy_settings(identity_service_url="http://127.0.0.1:1")

    with TestClient(create_app(settings)) as client:
        assert client.get("/nowhere").status_code == 404


@pytest.mark.parametrize("failing", [True, False])
def test_it_can_be_started_again_and_again(failing: bool) -> None:
    app = create_app(toy_settings())
    app.state.transport = FakeIdentity(is_down=failing)

    for _ in range(3):
        with TestClient(app) as client:
            assert client.get("/nowhere").status_code == 404


def test_stopping_does_not_wait_for_the_open_long_poll() -> None:
    app = create_app(toy_settings())
    app.state.transport = FakeIdentity()

    async def start_and_stop() -> float:
        loop = asyncio.get_running_loop()
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0.1)  # a poll of the feed is open by now
            stopped_at = loop.time()
        return loop.time() - stopped_at

    assert asyncio.run(start_and_stop()) < 0.5
