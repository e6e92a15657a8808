"""Tests that the conformance kit reports the one guarantee that a service breaks, and no other."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from content_service.main import app
from tools.conformance.registry import GUARANTEES, Guarantee, check_guarantees
from tools.conformance.target import Options, Service
from tools.localdev.contract_check import leave_alone
from tools.localdev.fake_identity import FakeIdentity
from tools.localdev.identity_server import create_app
from tools.localdev.servers import HOST, reserve_free_port, wait_until
from tools.localdev.services import ROOT

from .faulty_service import (
    FAULTS,
    Fault,
    errors_of_another_status,
    errors_of_another_type,
    pass_through,
    put_in_front,
)

UNUSED_URL = f"http://{HOST}:1"
FindBroken = Callable[[Fault, str], dict[str, str]]


@contextmanager
def serve(asgi: ASGIApp) -> Iterator[str]:
    """Serve an app over HTTP in a thread; yield its URL."""
    port = reserve_free_port()
    server = uvicorn.Server(uvicorn.Config(asgi, host=HOST, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server")
        url = f"http://{HOST}:{port}"
        leave_alone(url)  # its answers are wrong on purpose
        yield url
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def identity() -> FakeIdentity:
    return FakeIdentity()


@pytest.fixture(scope="module")
def identity_url(identity: FakeIdentity) -> Iterator[str]:
    with serve(create_app(identity)) as url:
        yield url


@pytest.fixture
def good(identity: FakeIdentity, migrated: Callable[[str], None]) -> Iterator[FastAPI]:
    """Return content-service, which accepts known tokens for one second of an outage."""
    migrated("content-service")
    settings = app.state.settings
    app.state.settings = settings.model_copy(update={"auth_max_staleness_seconds": 1.0})
    app.state.transport = identity
    yield app
    app.state.transport = None
    app.state.settings = settings


@pytest.fixture
def not_kept(good: FastAPI, identity: FakeIdentity, identity_url: str) -> FindBroken:
    """Return a function that finds the guarantees that are not kept, with the evidence."""
    stop, start = (partial(setattr, identity, "is_down", is_down) for is_down in (True, False))

    def find(fault: Fault, level: str) -> dict[str, str]:
        with serve(put_in_front(good, fault)) as url:
            urls = {"url": url, "identity": identity_url}
            options = Options.model_validate({**urls, "level": level, "max_recovery_seconds": 3})
            with closing(Service(options, stop, start)) as service:
                found = list(check_guarantees(service))
        return {
            verdict.guarantee: verdict.evidence for verdict in found if verdict.result != "kept"
        }

    return find


def test_a_service_without_fault_keeps_every_guarantee(not_kept: FindBroken) -> None:
    assert not_kept(pass_through, "outage") == {}


@pytest.mark.parametrize("guarantee", GUARANTEES, ids=lambda guarantee: guarantee.text)
def test_a_fault_breaks_its_guarantee_and_no_other(
    not_kept: FindBroken, guarantee: Guarantee
) -> None:
    found = not_kept(FAULTS[guarantee.text], guarantee.level)

    assert found.keys() == {guarantee.text}, found


@pytest.mark.parametrize("fault", [errors_of_another_status, errors_of_another_type])
def test_an_error_of_another_status_or_type_is_not_what_the_document_says(
    not_kept: FindBroken, fault: Fault
) -> None:
    found = not_kept(fault, "login")

    assert found.keys() == {"errors match OpenAPI"}, found
    assert "documented are" in found["errors match OpenAPI"]


def run_kit(**variables: str) -> subprocess.CompletedProcess[str]:
    """Run the kit as `make conformance` does."""
    return subprocess.run(
        [sys.executable, "-m", "tools.conformance"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
    )


def test_the_table_says_what_is_broken_and_so_does_the_exit_status(good: FastAPI) -> None:
    broken = "liveness and readiness answer 200"
    with serve(put_in_front(good, pass_through)) as url:
        kept = run_kit(URL=url, LEVEL="open")
    with serve(put_in_front(good, FAULTS[broken])) as url:
        not_kept = run_kit(URL=url, LEVEL="open")

    texts = [guarantee.text for guarantee in GUARANTEES if guarantee.level == "open"]
    assert (kept.returncode, not_kept.returncode) == (0, 1)
    assert [line[:6] for line in kept.stdout.splitlines()[: len(texts)]] == ["kept  "] * 8
    assert all(words in kept.stdout for words in texts)
    [line] = [line for line in not_kept.stdout.splitlines() if line.startswith("broken")]
    assert broken in line
    assert "GET /health/ready -> 503" in line


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"IDENTITY": "{url}"}, "admin@example.com cannot log in"),
        ({"LEVEL": "outage", "AWAY": "false"}, "this command failed: false"),
    ],
)
def test_what_could_not_be_asked_about_is_not_taken_for_kept(
    good: FastAPI, identity_url: str, variables: dict[str, str], why: str
) -> None:
    with serve(put_in_front(good, pass_through)) as url:
        given = {name: value.format(url=url) for name, value in variables.items()}
        done = run_kit(**{"URL": url, "IDENTITY": identity_url, "BACK": "true", **given})

    assert done.returncode == 1
    unknown = [line for line in done.stdout.splitlines() if line.startswith("unknown")]
    assert unknown and any(why in line for line in unknown)
    assert f"No broken guarantees, {len(unknown)} not checked, at" in done.stdout


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({}, "URL: Field required"),
        ({"URL": "content"}, "URL: "),
        ({"URL": UNUSED_URL}, f"no service answers at {UNUSED_URL}"),
        (
            {"URL": UNUSED_URL, "LEVEL": "high"},
            "LEVEL: Input should be 'open', 'login' or 'outage'",
        ),
        ({"URL": UNUSED_URL, "CREATE": "/api/v1/notes {}"}, "CREATE: "),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(variables: dict[str, str], why: str) -> None:
    done = run_kit(**variables)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {why}")
    assert len(done.stderr.splitlines()) == 1
