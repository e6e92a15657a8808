"""The service over HTTP, and people to call it as."""

import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Connection, CursorResult, NullPool, create_engine, text

from identity_service.database import session_maker
from identity_service.main import app
from identity_service.settings import settings

FOLDER = Path(__file__).resolve().parent.parent
PASSWORD = "correct horse battery staple"
numbers = itertools.count()


@dataclass
class Person:
    """Somebody who is logged in."""

    client: TestClient
    id: str
    email: str
    access_token: str
    refresh_token: str
    session_id: str

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.access_token)

    def request(self, method: str, path: str, **content: Any) -> Any:
        return self.client.request(method, f"/api/v1{path}", headers=self.headers, **content)

    def again(self, password: str = PASSWORD) -> "Person":
        """The same person, on another device."""
        return log_in(self.client, self.email, password)

    @property
    def status(self) -> int:
        """What /auth/validate says of the access token."""
        return int(validate(self.client, self.access_token).status_code)


@dataclass
class Mailboxes(httpx.AsyncBaseTransport):
    """The network, with communication on it: what it was given, by Idempotency-Key."""

    given: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0
    down: bool = False
    answers_get_lost: bool = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("communication is down", request=request)
        assert request.url.path == "/api/v1/notifications"
        self.requests += 1
        body = json.loads(request.content)
        assert self.given.setdefault(request.headers["Idempotency-Key"], body) == body
        if self.answers_get_lost:
            raise httpx.ReadError("the answer is lost", request=request)
        return httpx.Response(202, json={"id": "a notification"})

    def of(self, person_id: str, about: str = "") -> list[dict[str, Any]]:
        """What somebody was told, the newest last."""
        theirs = [one for one in self.given.values() if one["recipient_id"] == person_id]
        return [one for one in theirs if about in one["subject"]]

    def link_of(self, person_id: str, about: str) -> str:
        """The token in the newest mail of a kind; waits for it."""
        mail = eventually(lambda: self.of(person_id, about))[-1]
        match = re.search(r"http://localhost:8001/auth/[a-z-]+\?token=([\w-]+)", mail["body"])
        assert match, mail["body"]
        return match[1]


def eventually(find: Callable[[], Any], seconds: float = 15) -> Any:
    """Asks again and again until there is something."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


@contextmanager
def aside() -> Iterator[Connection]:
    """A connection to the service's database that is none of the service's."""
    engine = create_engine(settings.get_driver_url("psycopg2"), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def wait_until_held_up(connection: Connection) -> None:
    """Until somebody waits for a lock that the connection has."""
    held_up = text("SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    eventually(lambda: connection.execute(held_up).first())


def in_a_reset(connection: Connection, person: Person) -> None:
    """What a reset of their password does, up to its commit."""
    for theirs in ("SELECT 1 FROM users WHERE id = :id FOR UPDATE",
                   "DELETE FROM api_keys WHERE user_id = :id",
                   "DELETE FROM sessions WHERE user_id = :id"):  # fmt: skip
        connection.execute(text(theirs), {"id": person.id})


@contextmanager
def running(**environment: str) -> Iterator[httpx.Client]:
    """The service as it is started, a process of its own, with these variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "SERVICE_PORT": str(port),
        **environment,
    }
    command = [sys.executable, "main.py"]
    process = subprocess.Popen(command, cwd=FOLDER, env=variables, stdout=subprocess.DEVNULL)
    with process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        try:
            eventually(lambda: is_ready(client, process), 30)
            yield client
        finally:
            process.kill()


def is_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None
    try:
        return client.get("/health/ready").is_success
    except httpx.TransportError:
        return False


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def validate(client: TestClient, token: str) -> Any:
    return client.post("/auth/validate", headers=bearer(token))


def log_in(client: TestClient, email: str, password: str = PASSWORD) -> Person:
    answer = client.post("/api/v1/auth/login", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    session_id = validate(client, tokens["access_token"]).json()["session_id"]
    return Person(
        client,
        tokens["user_id"],
        email,
        tokens["access_token"],
        tokens["refresh_token"],
        session_id,
    )


@pytest.fixture(scope="session", autouse=True)
def database(migrated: Callable[[str], None]) -> None:
    migrated("identity-service")


@pytest.fixture(scope="module")
def mailboxes() -> Mailboxes:
    return Mailboxes()


@pytest.fixture(scope="module")
def client(database: None, mailboxes: Mailboxes) -> Iterator[TestClient]:
    """Started once per module: asyncpg's connections belong to one event loop at a time."""
    app.state.transport = mailboxes
    with TestClient(app) as client:
        yield client
    app.state.transport = None


@pytest.fixture(scope="module")
def new_person(client: TestClient) -> Callable[[], Person]:
    def register() -> Person:
        email = f"person-{next(numbers)}@example.com"
        new = {"email": email, "password": PASSWORD, "name": "Somebody"}
        assert client.post("/api/v1/auth/register", json=new).status_code == 201
        return log_in(client, email)

    return register


@pytest.fixture(scope="module")
def somebody(new_person: Callable[[], Person]) -> Person:
    """For tests that leave them as they are."""
    return new_person()


@pytest.fixture
def person(new_person: Callable[[], Person]) -> Person:
    """With the role everybody has who registers."""
    return new_person()


@pytest.fixture
def other(new_person: Callable[[], Person]) -> Person:
    return new_person()


@pytest.fixture(scope="module")
def admin(client: TestClient) -> Person:
    return log_in(client, "admin@example.com", "demo-password-1")


@pytest.fixture
def new_role(admin: Person) -> Callable[..., str]:
    def create(*permissions: str) -> str:
        name = f"role-{next(numbers)}"
        new = {"name": name, "permissions": permissions}
        assert admin.request("POST", "/roles", json=new).status_code == 201
        return name

    return create


@pytest.fixture
def with_rights(
    admin: Person, new_person: Callable[[], Person], new_role: Callable[..., str]
) -> Callable[..., Person]:
    """Somebody with exactly these permissions."""

    def create(*permissions: str) -> Person:
        person, role = new_person(), new_role(*permissions)
        answer = admin.request("PUT", f"/users/{person.id}/roles", json={"roles": [role]})
        assert answer.status_code == 200, answer.text
        return person

    return create


@pytest.fixture
def service(client: TestClient) -> Callable[..., str]:
    """A token of a service, its own or on behalf of somebody."""

    def token(client_id: str, on_behalf_of: str | None = None) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": "development-only-service-secret",
        }
        if on_behalf_of:
            form["on_behalf_of"] = on_behalf_of
        answer = client.post("/api/v1/auth/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    return token


@pytest.fixture
def from_network(client: TestClient) -> Callable[[str], TestClient]:
    """A client in another network, of the app that runs already."""

    def elsewhere(ip: str) -> TestClient:
        found = TestClient(app, client=(ip, 50_000))
        found.portal = client.portal
        return found

    return elsewhere


@pytest.fixture
def sql(client: TestClient) -> Callable[..., list[Any]]:
    """Run a statement in the service's database."""

    async def execute(statement: str, **parameters: Any) -> list[Any]:
        async with session_maker.begin() as session:
            found = await session.execute(text(statement), parameters)
            return list(found) if isinstance(found, CursorResult) and found.returns_rows else []

    def run(statement: str, **parameters: Any) -> list[Any]:
        assert client.portal is not None
        return client.portal.call(lambda: execute(statement, **parameters))

    return run
