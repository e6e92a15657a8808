"""What every test in this repository stands on: a real PostgreSQL and a real Redis.

Each pytest process (each xdist worker too) runs its own two servers in a temporary folder, and
each service's settings are imported here, before anything else imports that service, so that
they name these servers. A service's tests/conftest.py needs no more than

    @pytest.fixture(scope="session", autouse=True)
    def database(migrated: Callable[[str], None]) -> None:
        migrated("content-service")

and then uses the service's own `app`, engine and session maker. Tests keep apart by making users
of their own; nothing is emptied between them. What needs a database or a Redis of no service
takes the fixture `servers`: `servers.postgres.create("me", "mine")` and `servers.redis.url(0)`
are URLs.
"""

import importlib
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest
from alembic import command
from alembic.config import Config
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tools.localdev.services import ROOT, SERVICES
from tools.localdev.test_servers import TemporaryServers

SERVERS = TemporaryServers()

DISTURBING = {"test_recovery", "test_failures", "test_conformance"}  # the stack of tests/
# The longest files, begun after those that share a stack, so that no worker ends with one alone.
BEGUN_FIRST = {*DISTURBING, "test_chaos", "test_killed", "test_processes", "test_refresh"}
STACKS = ("stack in peace", "disturbed stack")

for service in SERVICES:
    sys.path.append(str(service.folder))
    # clear: nothing of the developer's own environment (API keys!) reaches the tests.
    with patch.dict(os.environ, SERVERS.environment(service), clear=True):
        importlib.import_module(f"{service.package}.settings")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """In a service's folder `from main import app` means that service's, as it does when run."""
    for service in SERVICES:
        if service.folder in collector.path.parents:
            others = [path for path in sys.path if path != str(service.folder)]
            sys.path[:] = [str(service.folder), *others]
            sys.modules.pop("main", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> tuple[bool, bool]:
        return shared_by(file_of(item.nodeid)) not in STACKS, item.path.stem not in BEGUN_FIRST

    items.sort(key=turn)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """With `-n`: a file's tests stay together, and so do the files that share a stack."""

    def _split_scope(self, nodeid: str) -> str:
        return shared_by(file_of(nodeid))


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


@cache
def shared_by(file: str) -> str:
    """What has one stack: the files that disturb it, or those that do not; or the file itself."""
    if not file.startswith("tests/") or "stack: Stack" not in (ROOT / file).read_text():
        return file
    return STACKS[Path(file).stem in DISTURBING]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    config.option.loadscopereorder = False  # it would begin with what has the most tests
    return ByFile(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the servers, unless this process only hands tests to xdist's workers."""
    hands_out = session.config.getoption("numprocesses", None)
    if not hands_out or hasattr(session.config, "workerinput"):
        SERVERS.start()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests have measured (`record_property`), a line for each name."""
    measured = defaultdict(list)
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            measured[name].append(str(value))
    for name, values in measured.items():
        terminalreporter.line(f"{name}: {', '.join(values)}")


def pytest_unconfigure() -> None:
    SERVERS.stop()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests that are `async def` run on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def servers() -> TemporaryServers:
    return SERVERS


@pytest.fixture(scope="session")
def migrated() -> Callable[[str], None]:
    """Call it with a service's name: its database then has the newest schema."""
    return migrate


@cache
def migrate(name: str) -> None:
    folder = ROOT / name
    command.upgrade(Config(folder / "alembic.ini"), "head")
