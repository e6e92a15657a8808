"""The service over HTTP, on the real database of the root conftest.py."""

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient


@pytest.fixture(scope="session", autouse=True)
def database(migrated: Callable[[str], None]) -> None:
    migrated("identity-service")


@pytest.fixture(scope="session")
def client(database: None) -> Iterator[TestClient]:
    from identity_service.main import app

    with TestClient(app) as client:
        yield client
