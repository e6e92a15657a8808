"""Whoever follows the specification to the letter gets along with these services.

The clients and services here are written the way its snippets do it: no prefix, a client for each
call, the answer judged by its status alone.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import httpx
import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.testclient import TestClient

from chassis.errors import ServiceError
from chassis.service_client import ServiceClient
from tools.localdev.servers import reserve_free_port
from tools.localdev.services import ROOT, SERVICES, Service
from tools.localdev.test_servers import TemporaryServers

from .users import PASSWORD, Person, Stack, get_json, register, send_request

each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


# -- starting a service -------------------------------------------------------------------------


def get_required_variables(
    service: Service, servers: TemporaryServers, scheme: str
) -> dict[str, str]:
    """The environment that the specification asks for, and nothing more."""
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
    """The URL of the service, started by this command in its folder, once it is ready."""
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
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health/ready").is_success:
                return
        except httpx.TransportError:
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


# -- a service that asks identity about tokens --------------------------------------------------


def build_literal_service(identity_url: str) -> FastAPI:
    """A service with one protected route, made by following the specification."""
    app = FastAPI()

    async def validated(
        credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
    ) -> Any:
        headers = {"Authorization": f"Bearer {credentials.credentials}"}
        async with httpx.AsyncClient() as client:
            response = await client.post(f"{identity_url}/auth/validate", headers=headers)
        if response.status_code != 200:
            raise HTTPException(401, "Invalid token")
        return response.json()

    @app.get("/protected")
    async def protected(user: Annotated[Any, Depends(validated)]) -> Any:
        return {name: user[name] for name in ("user_id", "email", "roles", "permissions")}

    return app


def request_protected(stack: Stack, token: str) -> Any:
    client = TestClient(build_literal_service(stack.get_url("identity-service")))
    return client.get("/protected", headers={"Authorization": f"Bearer {token}"})


def test_a_service_that_judges_by_the_status_alone_lets_a_person_in(stack: Stack) -> None:
    person = register(stack)

    response = request_protected(stack, person.token)

    assert response.status_code == 200
    assert response.json()["user_id"] == person.user_id
    assert response.json()["email"] == person.email
    assert response.json()["roles"] == ["member"]
    assert "documents:write" in response.json()["permissions"]


def test_it_keeps_out_who_has_logged_out(stack: Stack) -> None:
    person = register(stack)
    person.request("POST", "identity", "/auth/logout")

    response = request_protected(stack, person.token)

    assert response.status_code == 401


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "a.b.c",
        # {"alg": "none"} with a body that would make an admin of anybody
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhZG1pbiIsInJvbGVzIjpbImFkbWluIl19.",
    ],
)
def test_it_keeps_out_who_has_no_token_of_identity(stack: Stack, token: str) -> None:
    response = request_protected(stack, token)

    assert response.status_code == 401


def test_it_keeps_out_who_sends_a_refresh_token(stack: Stack) -> None:
    person = register(stack)
    credentials = {"email": person.email, "password": PASSWORD}
    session = get_json(send_request(stack, "POST", "identity", "/auth/login", json=credentials))

    response = request_protected(stack, session["refresh_token"])

    assert response.status_code == 401


def test_a_token_may_come_in_the_body_too(stack: Stack) -> None:
    person = register(stack)

    found = send_request(stack, "POST", "identity", "/auth/validate", json={"token": person.token})
    refused = send_request(stack, "POST", "identity", "/auth/validate", json={"token": "nonsense"})

    assert (found.status_code, found.json()["user_id"]) == (200, person.user_id)
    assert refused.status_code == 401


# -- clients ------------------------------------------------------------------------------------


def test_a_client_made_for_one_call_reads_a_profile(stack: Stack) -> None:
    person = register(stack)
    headers = {
        "Content-Type": "application/json",
        "X-Service-Name": "content-service",
        "X-Trace-ID": str(uuid4()),
        "Authorization": f"Bearer {person.token}",
    }

    response = send_request(
        stack, "GET", "identity", f"/users/{person.user_id}/profile", headers=headers
    )

    assert response.status_code == 200
    assert response.json()["email"] == person.email
    assert response.headers["X-Trace-ID"] == headers["X-Trace-ID"]


def test_the_chassis_client_is_used_as_the_specification_shows(stack: Stack) -> None:
    person = register(stack)

    profile = asyncio.run(read_profile(stack, person, person.user_id))

    assert profile["user_id"] == person.user_id


def test_its_failures_are_service_errors_with_a_status(stack: Stack) -> None:
    person, stranger = register(stack), register(stack)

    with pytest.raises(ServiceError) as caught:
        asyncio.run(read_profile(stack, stranger, person.user_id))

    assert caught.value.status_code == 403
    assert str(ServiceError("identity-service timeout", 503)) == "identity-service timeout"


async def read_profile(stack: Stack, person: Person, user_id: str) -> Any:
    client = ServiceClient(
        base_url=stack.get_url("identity-service"), service_name="content-service"
    )
    try:
        return await client.make_request(
            "GET",
            f"/users/{user_id}/profile",
            headers={"Authorization": f"Bearer {person.token}"},
        )
    finally:
        await client.aclose()
