"""The running app, and users who call it."""

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from acme_service.main import app
from tools.localdev.fake_identity import FakeIdentity

MEMBER = ("acme:read", "acme:write")

Login = Callable[..., TestClient]


@pytest.fixture(scope="session", autouse=True)
def database(migrated: Callable[[str], None]) -> None:
    migrated("acme-service")


@pytest.fixture(scope="session")
def identity() -> FakeIdentity:
    return FakeIdentity()


@pytest.fixture(scope="session")
def client(database: None, identity: FakeIdentity) -> Iterator[TestClient]:
    """Start the app once; requests are not logged in. Paths start after /api/v1."""
    app.state.transport = identity
    with TestClient(app, base_url="http://testserver/api/v1") as client:
        yield client


@pytest.fixture
def login(client: TestClient, identity: FakeIdentity) -> Login:
    def login(*permissions: str) -> TestClient:
        person = identity.add_person(*(permissions or MEMBER))
        caller = TestClient(app, base_url=str(client.base_url), headers=person.headers)
        caller.portal = client.portal  # the event loop the app was started in
        return caller

    return login


@pytest.fixture
def owner(login: Login) -> TestClient:
    return login()


@pytest.fixture
def stranger(login: Login) -> TestClient:
    return login()
