"""Tests that a service starts and is tested exactly as the specification shows."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tools.localdev.layout import is_responding
from tools.localdev.servers import reserve_free_port
from tools.localdev.services import ROOT, SERVICES, Service
from tools.localdev.test_servers import TemporaryServers

each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


def get_required_variables(
    service: Service, servers: TemporaryServers, scheme: str
) -> dict[str, str]:
    """Return the variables that the specification requires, and no others."""
    given = servers.get_environment(service)
    return {
        "SERVICE_NAME": service.name,
        "SERVICE_VERSION": "1.2.3",
        "SERVICE_PORT": str(reserve_free_port()),
        "DATABASE_URL": given["DATABASE_URL"].replace("postgresql", scheme, 1),
        "DATABASE_POOL_SIZE": "10",
        "DATABASE_MAX_OVERFLOW": "20",
        "REDIS_URL": given["REDIS_URL"],
        "REDIS_MAX_CONNECTIONS": "10",
        "IDENTITY_SERVICE_URL": "http://localhost:1",
        "JWT_SECRET_KEY": "shared by all services, and long enough",
        "JWT_ALGORITHM": "HS256",
        "DEBUG": "false",
        "LOG_LEVEL": "INFO",
        "CONTENT_SERVICE_URL": "http://localhost:1",
        "COMMUNICATION_SERVICE_URL": "http://localhost:1",
        "WORKFLOW_SERVICE_URL": "http://localhost:1",
        "CELERY_BROKER_URL": given["CELERY_BROKER_URL"],
        "OPENAI_API_KEY": "",
        "ANTHROPIC_API_KEY": "",
    }


@contextmanager
def run_service(service: Service, variables: dict[str, str], *command: str) -> Iterator[str]:
    """Start the service by a command in its folder; yield its URL once it is ready."""
    url = f"http://localhost:{variables['SERVICE_PORT']}"
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=service.folder,
        env={"PATH": os.environ["PATH"], **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()


def wait_until_ready(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if is_responding(f"{url}/health/ready"):
            return
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"It is not ready:\n{process.communicate()[0]}")


@each_service
@pytest.mark.parametrize(
    ("scheme", "way"), [("postgresql+asyncpg", "main.py"), ("postgresql", "uvicorn")]
)
def test_a_service_starts_with_the_required_variables_alone(
    service: Service,
    scheme: str,
    way: str,
    servers: TemporaryServers,
    migrated: Callable[[str], None],
) -> None:
    migrated(service.name)
    variables = get_required_variables(service, servers, scheme)
    ways = {
        "main.py": ["main.py"],
        "uvicorn": ["-m", "uvicorn", "main:app", "--port", variables["SERVICE_PORT"]],
    }

    with run_service(service, variables, *ways[way]) as url:
        health = httpx.get(f"{url}/health").json()

    assert health["service"] == service.name
    assert health["version"] == "1.2.3"
    assert health["port"] == int(variables["SERVICE_PORT"])
    assert health["dependencies"]["database"] == health["dependencies"]["redis"] == "healthy"


TEMPLATE = """
from fastapi.testclient import TestClient
from main import app

client = TestClient(app)


def test_health():
    answer = client.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    for name in ("service", "status", "version", "port", "dependencies", "metrics"):
        assert name in body
    assert body["service"] == "{service}"


def test_documentation():
    assert client.get("/docs").status_code == 200
    assert client.get("/openapi.json").status_code == 200
"""


ASYNC_TEST = """
import pytest
from httpx import ASGITransport, AsyncClient

@pytest.mark.asyncio
async def test_liveness():
    async with AsyncClient(transport=ASGITransport(app), base_url="http://service") as caller:
        assert (await caller.get("/health/live")).json() == {"status": "alive"}
"""


@each_service
def test_the_integration_test_template_runs_in_the_folder_of_a_service(
    service: Service, servers: TemporaryServers, tmp_path: Path
) -> None:
    test = tmp_path / "test_integration.py"
    test.write_text(TEMPLATE.format(service=service.name))

    variables = get_required_variables(service, servers, "postgresql")
    done = run_pytest(service.folder, test, variables=variables)

    assert done.returncode == 0, done.stdout + done.stderr


def test_each_service_tests_itself_when_all_are_tested_together() -> None:
    name = f"test_template_{uuid4().hex}.py"
    tests = [service.folder / "tests" / name for service in SERVICES]
    for service, test in zip(SERVICES, tests, strict=True):
        test.write_text(TEMPLATE.format(service=service.name) + ASYNC_TEST)

    try:
        done = run_pytest(ROOT, *tests)
    finally:
        for test in tests:
            test.unlink()

    assert done.returncode == 0, done.stdout + done.stderr


def run_pytest(
    folder: Path, *tests: Path, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *map(str, tests)],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **(variables or {})},
        capture_output=True,
        text=True,
    )
