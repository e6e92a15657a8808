"""The service over HTTP, users to call it as, and a fake communication service."""

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
    """A user who is logged in."""

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

    def log_in_again(self, password: str = PASSWORD) -> "Person":
        """Log in the same user on another device."""
        return log_in(self.client, self.email, password)

    @property
    def status(self) -> int:
        """The status that /auth/validate responds with to the access token."""
        return int(validate(self.client, self.access_token).status_code)


@dataclass
class Mailboxes(httpx.AsyncBaseTransport):
    """Plays the communication service, and keeps what it received by Idempotency-Key."""

    received: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0
    down: bool = False
    answers_get_lost: bool = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("communication is down", request=request)
        assert request.url.path == "/api/v1/notifications"
        self.requests += 1
        body = json.loads(request.content)
        assert self.received.setdefault(request.headers["Idempotency-Key"], body) == body
        if self.answers_get_lost:
            raise httpx.ReadError("the answer is lost", request=request)
        return httpx.Response(202, json={"id": "a notification"})

    def find_emails(self, person_id: str, about: str = "") -> list[dict[str, Any]]:
        """Return the emails to a user, newest last."""
        theirs = [one for one in self.received.values() if one["recipient_id"] == person_id]
        return [one for one in theirs if about in one["subject"]]

    def wait_for_link(self, person_id: str, about: str) -> str:
        """Return the token in the newest email with such a subject, once it has arrived."""
        mail = wait_for(lambda: self.find_emails(person_id, about))[-1]
        match = re.search(r"http://localhost:8001/auth/[a-z-]+\?token=([\w-]+)", mail["body"])
        assert match, mail["body"]
        return match[1]


def wait_for(find: Callable[[], Any], seconds: float = 15) -> Any:
    """Call `find` until it returns something."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


@contextmanager
def separate_connection() -> Iterator[Connection]:
    """Open a connection to the service's database that is not the service's own."""
    engine = create_engine(settings.get_driver_url("psycopg2"), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def wait_until_blocked(connection: Connection) -> None:
    """Wait until another connection waits for a lock of this one."""
    held_up = text("SELECT 1 FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    wait_for(lambda: connection.execute(held_up).first())


def start_password_reset(connection: Connection, person: Person) -> None:
    """Do what a reset of the user's password does, up to its commit."""
    for theirs in ("SELECT 1 FROM users WHERE id = :id FOR UPDATE",
                   "DELETE FROM api_keys WHERE user_id = :id",
                   "DELETE FROM sessions WHERE user_id = :id"):  # fmt: skip
        connection.execute(text(theirs), {"id": person.id})


@contextmanager
def run_service(**environment: str) -> Iterator[httpx.Client]:
    """Run the service in a process of its own, with these variables."""
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
            wait_for(lambda: is_ready(client, process), 30)
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
    """Start the service once per module, because asyncpg's connections belong to one event loop."""
    app.state.transport = mailboxes
    with TestClient(app) as client:
        yield client
    app.state.transport = None


@pytest.fixture(scope="module")
def new_person(client: TestClient) -> Callable[[], Person]:
    def register() -> Person:
        email = f"person-{next(numbers)}@example.com"
        new = {"email": email, "password": PASSWORD, "name": "Ada Lovelace"}
        assert client.post("/api/v1/auth/register", json=new).status_code == 201
        return log_in(client, email)

    return register


@pytest.fixture(scope="module")
def shared_person(new_person: Callable[[], Person]) -> Person:
    """A user for tests that change nothing."""
    return new_person()


@pytest.fixture
def person(new_person: Callable[[], Person]) -> Person:
    """A user with the default role."""
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
def new_person_with(
    admin: Person, new_person: Callable[[], Person], new_role: Callable[..., str]
) -> Callable[..., Person]:
    """Create a user with exactly these permissions."""

    def create(*permissions: str) -> Person:
        person = new_person()
        role = new_role(*permissions)
        answer = admin.request("PUT", f"/users/{person.id}/roles", json={"roles": [role]})
        assert answer.status_code == 200, answer.text
        return person

    return create


@pytest.fixture
def service_token(client: TestClient) -> Callable[..., str]:
    """Fetch a token of a service, its own or on behalf of a user."""

    def fetch(client_id: str, on_behalf_of: str | None = None) -> str:
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

    return fetch


@pytest.fixture
def from_network(client: TestClient) -> Callable[[str], TestClient]:
    """Create a client in another network, of the app that is running."""

    def create_client(ip: str) -> TestClient:
        found = TestClient(app, client=(ip, 50_000))
        found.portal = client.portal
        return found

    return create_client


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
