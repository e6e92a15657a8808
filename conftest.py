"""Starts what every test in this repository needs: a real PostgreSQL and a real Redis.

Each pytest process (each xdist worker too) runs its own two servers in a temporary folder, and
each service's settings are imported here, before anything else imports that service, so that
they name these servers. A service's tests/conftest.py needs only

    @pytest.fixture(scope="session", autouse=True)
    def database(migrated: Callable[[str], None]) -> None:
        migrated("content-service")

and then uses the service's own `app`, engine and session maker. Tests stay independent by creating
their own users; nothing is deleted between them. The fixture `servers` is for databases outside any
service: `servers.postgres.create_database("me", "mine")` and `servers.redis.get_url(0)` are URLs.
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

from tools.localdev.contract_check import watch_clients
from tools.localdev.services import ROOT, SERVICES
from tools.localdev.test_servers import TemporaryServers

SERVERS = TemporaryServers()

watch_clients()  # a response that the OpenAPI document does not declare fails its test

# Files in tests/ that stop or kill processes of the stack: they have a stack of their own.
DISTURBING = {"test_recovery", "test_failures", "test_conformance"}
# The longest other files, started early, so that no worker ends with one of them alone.
LONG_FILES = {*DISTURBING, "test_chaos", "test_killed", "test_processes", "test_refresh"}
STACK_GROUPS = ("stack", "disturbed stack")

for service in SERVICES:
    sys.path.append(str(service.folder))
    # clear: the developer's own environment (API keys!) must not reach the tests.
    with patch.dict(os.environ, SERVERS.get_environment(service), clear=True):
        importlib.import_module(f"{service.package}.settings")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Let `from main import app` in a service's folder import that service's main.py."""
    for service in SERVICES:
        if service.folder in collector.path.parents:
            others = [path for path in sys.path if path != str(service.folder)]
            sys.path[:] = [str(service.folder), *others]
            sys.modules.pop("main", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests that share a stack, then the long files."""

    def get_rank(item: pytest.Item) -> tuple[bool, bool]:
        return get_group(item.nodeid) not in STACK_GROUPS, item.path.stem not in LONG_FILES

    items.sort(key=get_rank)


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """With `-n`: sends the tests of a file, or of files that share a stack, to one worker.

    `--dist loadgroup` cannot do this: pytest-xdist 3.8 hands groups over as a suffix of the node
    id, which pytest 9.2 ignores (pytest-xdist issue 1386), and `--last-failed` would not find
    suffixed tests again.
    """

    def _split_scope(self, nodeid: str) -> str:
        return get_group(nodeid)


def get_group(nodeid: str) -> str:
    """Return the name of the stack that the test's file shares with others, or the file."""
    file = nodeid.partition("::")[0]
    return STACK_GROUPS[Path(file).stem in DISTURBING] if uses_stack(file) else file


@cache
def uses_stack(file: str) -> bool:
    return file.startswith("tests/") and "stack: Stack" in (ROOT / file).read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    config.option.loadscopereorder = False  # keeps the order above
    return GroupScheduling(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the servers, unless this process only distributes tests to xdist's workers."""
    distributes = session.config.getoption("numprocesses", None)
    if not distributes or hasattr(session.config, "workerinput"):
        SERVERS.start()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured (`record_property`), one line for each name."""
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
    """Run `async def` tests on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def servers() -> TemporaryServers:
    return SERVERS


@pytest.fixture(scope="session")
def migrated() -> Callable[[str], None]:
    """Return a function that migrates the database of a service, given its name."""
    return migrate


@cache
def migrate(name: str) -> None:
    folder = ROOT / name
    command.upgrade(Config(folder / "alembic.ini"), "head")
