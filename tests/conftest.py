"""Runs the whole platform as real processes, for tests across services.

`stack` is started once for this folder: without Docker on free ports, or the compose stack with
STACK=docker (`make test-compose`). Both have the same methods, which take names of processes:
`stack.get_url("content-service")`, `stack.get_url("mail")`, `stack.kill("workflow-worker")` (-9; it
is restarted), `stack.stop(name)`, `stack.start(name)`, `stack.read_logs(name)`,
`stack.flush_redis("workflow")`.
"""

import importlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.datastructures import State

from chassis.settings import Settings
from tools.localdev.compose_stack import ComposeStack
from tools.localdev.fake_identity import FakeIdentity
from tools.localdev.layout import reserve_free_ports
from tools.localdev.services import SERVICES
from tools.localdev.stack import LocalDevStack

from .services_under_test import SERVICE_FOLDERS

Stack = LocalDevStack | ComposeStack

OVERRIDES = {
    # Another worker takes over a killed worker's work after this time; the default is a minute.
    "DELIVERY_LEASE_SECONDS": "5",
    "STEP_LEASE_SECONDS": "5",
    # Tests must not use the developer's own keys.
    "OPENAI_API_KEY": "",
    "ANTHROPIC_API_KEY": "",
}
IS_IN_DOCKER = os.environ.get("STACK") == "docker"
SHOWN_LOG_CHARACTERS = 3000  # of each process when a test fails


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="test-stack-") as folder:
        stack = create_stack(Path(folder))
        try:
            stack.up()
            yield stack
        finally:
            stack.reset()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Function]) -> None:
    """With the stack in Docker, leave out the tests that do not use it: `make test` runs them."""
    if IS_IN_DOCKER:
        here = Path(__file__).parent
        others = [i for i in items if here in i.path.parents and "stack" not in i.fixturenames]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def create_stack(folder: Path) -> Stack:
    if IS_IN_DOCKER:
        return ComposeStack(OVERRIDES)
    return LocalDevStack(folder / "stack", reserve_free_ports(), OVERRIDES, as_child=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the services when a test fails."""
    report = yield
    stack = item.funcargs.get("stack")
    if report.failed and isinstance(stack, Stack):
        for service in SERVICES:
            for kind in ("service", *service.background):
                name = f"{service.short}-{kind}"
                report.sections.append(
                    (f"log of {name}", stack.read_logs(name)[-SHOWN_LOG_CHARACTERS:])
                )
    return report


# -- each service in turn ----------------------------------------------------------------------

STARTED_STATE = {"redis", "identity", "account", "authenticate"}  # of app.state, set at start-up


@pytest.fixture(params=SERVICE_FOLDERS, ids=lambda folder: str(folder.name))
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def package(folder: Path) -> str:
    return folder.name.replace("-", "_")


@pytest.fixture
def settings(package: str) -> Settings:
    found: Settings = importlib.import_module(f"{package}.settings").settings
    return found


@pytest.fixture
def app(package: str) -> Iterator[FastAPI]:
    """Hide what start-up gave the app, in case its own service's tests keep it started."""
    found: FastAPI = importlib.import_module(f"{package}.main").app
    complete = found.state
    found.state = State({name: complete[name] for name in complete if name not in STARTED_STATE})
    yield found
    found.state = complete


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    """Call the app before its start-up: these things must hold even then."""
    return TestClient(app)


@pytest.fixture
def started(folder: Path, app: FastAPI, migrated: Callable[[str], None]) -> Iterator[TestClient]:
    migrated(folder.name)
    app.state.transport = FakeIdentity()
    with TestClient(app) as client:
        yield client
    app.state.transport = None
