"""The running app, and users who call it."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import update

from content_service.cleanup import run_cleanup
from content_service.database import engine
from content_service.files.storage import MAX_UPLOAD_DURATION
from content_service.main import app
from content_service.models import Grant
from tools.localdev.fake_identity import FakeIdentity

MEMBER = ("documents:read", "documents:write")


def has_ended(processing: dict[str, Any]) -> bool:
    return processing["status"] in ("done", "failed")


class Caller(TestClient):
    """Calls the API as a user; paths begin after /api/v1."""

    user_id: str

    def create(self, **fields: Any) -> dict[str, Any]:
        new = {"title": "Notes", "body": "On the Analytical Engine", **fields}
        return expect_created(self.post("/documents", json=new))

    def post_file(self, content: bytes, name: str = "paper", **form: Any) -> Response:
        return self.post("/documents/upload", files={"file": (name, content)}, data=form)

    def upload(self, content: bytes, name: str = "paper", **form: Any) -> dict[str, Any]:
        return expect_created(self.post_file(content, name, **form))

    def share(
        self, document: dict[str, Any], other: "Caller | str", level: str = "read", **more: Any
    ) -> None:
        """Share with a user, or with a role by its name."""
        grantee = f"roles/{other}" if isinstance(other, str) else other.user_id
        path = f"/documents/{document['id']}/permissions/{grantee}"
        answer = self.put(path, json={"level": level, **more})
        assert answer.status_code == 200, answer.text

    def change(self, document: dict[str, Any], **changes: Any) -> Response:
        headers = {"If-Match": f'"{document["version"]}"'}
        return self.patch(f"/documents/{document['id']}", json=changes, headers=headers)

    def read(self, document: dict[str, Any]) -> Response:
        return self.get(f"/documents/{document['id']}")

    def process(self, document: dict[str, Any]) -> dict[str, Any]:
        """Request the text and wait for the outcome."""
        assert self.post(f"/documents/{document['id']}/process").status_code == 202
        return self.wait_for_outcome(document)

    def wait_for_outcome(
        self, document: dict[str, Any], wanted: Callable[[dict[str, Any]], bool] = has_ended
    ) -> dict[str, Any]:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            found: dict[str, Any] = self.get(f"/documents/{document['id']}/processing").json()
            if wanted(found):
                return found
            time.sleep(0.05)
        raise AssertionError(f"still waiting: {found}")


Login = Callable[..., Caller]
ChangeSettings = Callable[..., None]


def expect_created(response: Response) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    document: dict[str, Any] = response.json()
    return document


def create_role_name() -> str:
    return f"role-{uuid4().hex[:12]}"


def get_time_in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def expire_grant(document: dict[str, Any], grantee: str) -> None:
    """Make the grant expire."""
    with engine.begin() as connection:
        mine = update(Grant).where(Grant.document_id == document["id"])
        ended = mine.where(Grant.grantee == grantee)
        connection.execute(ended.values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))


def make_old(*files: Path) -> None:
    """Make files older than any upload takes."""
    long_ago = time.time() - MAX_UPLOAD_DURATION.total_seconds() - 1
    for file in files:
        os.utime(file, (long_ago, long_ago))


@contextmanager
def replace_state(name: str, value: object) -> Iterator[None]:
    """Replace a value in the state of the running app."""
    was = getattr(app.state, name)
    setattr(app.state, name, value)
    try:
        yield
    finally:
        setattr(app.state, name, was)


def clean_up() -> None:
    while run_cleanup(app.state.settings):
        pass


@pytest.fixture(scope="session", autouse=True)
def database(migrated: Callable[[str], None]) -> None:
    migrated("content-service")


@dataclass
class Neighbours(httpx.AsyncBaseTransport):
    """Fakes identity, and a communication that keeps one notification per key."""

    identity: FakeIdentity = field(default_factory=FakeIdentity)
    notifications: dict[str, dict[str, Any]] = field(default_factory=dict)
    answer: int = 202

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != "communication-service":
            return await self.identity.handle_async_request(request)
        if self.answer == 202:
            self.notifications[request.headers["Idempotency-Key"]] = json.loads(request.content)
        return httpx.Response(self.answer, json={"detail": "as the test wants it"})

    def notifications_for(self, person: Caller) -> list[dict[str, Any]]:
        return [n for n in self.notifications.values() if n["recipient_id"] == person.user_id]


@pytest.fixture(scope="session")
def neighbours() -> Neighbours:
    return Neighbours()


@pytest.fixture(scope="session")
def identity(neighbours: Neighbours) -> FakeIdentity:
    return neighbours.identity


@pytest.fixture(scope="module")
def client(database: None, neighbours: Neighbours) -> Iterator[TestClient]:
    """Start the app once; the client is not logged in."""
    app.state.transport = neighbours
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture(scope="module")
def login(client: TestClient, identity: FakeIdentity) -> Login:
    def login(*permissions: str, **person: Any) -> Caller:
        found = identity.add_person(*(permissions or MEMBER), **person)
        caller = Caller(app, base_url=str(client.base_url), headers=found.headers)
        caller.user_id = found.user_id
        caller.portal = client.portal  # the event loop the app was started in
        return caller

    return login


@pytest.fixture
def change_settings() -> Iterator[ChangeSettings]:
    """Change settings of the running app until the end of the test."""
    before = app.state.settings

    def change(**values: Any) -> None:
        app.state.settings = app.state.settings.model_copy(update=values)

    yield change
    app.state.settings = before


@pytest.fixture
def author(login: Login) -> Caller:
    return login()


@pytest.fixture
def reviewer(login: Login) -> Caller:
    """Log in a user to share documents with."""
    return login()


@pytest.fixture
def stranger(login: Login) -> Caller:
    """Log in a user who has access to no document."""
    return login()
