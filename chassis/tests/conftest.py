"""Shared by the chassis's tests: a database, and logging that is restored."""

import logging
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tools.localdev.test_servers import TemporaryServers


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Restore pytest's root logger, which create_app replaces."""
    handlers = logging.root.handlers[:]
    level = logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def database_url(servers: TemporaryServers) -> str:
    return servers.postgres.create_database("chassis", "chassis").replace("://", "+psycopg2://")


@pytest.fixture(scope="session")
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(database_url, pool_size=10, max_overflow=20)
    yield engine
    engine.dispose()
