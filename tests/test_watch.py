"""Tests that `docker compose watch` runs edited code, in Docker only (`make test-compose`)."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tools.localdev.compose_stack import PROJECT_NAME
from tools.localdev.servers import wait_until

from .repository_copy import copy_repository
from .users import Stack

WATCH = ["docker", "compose", "--project-name", PROJECT_NAME, "watch", "--no-up"]
MAX_SECONDS = 30  # on a busy machine; three to five on an idle one
PROCESSES = ("workflow-service", "workflow-worker", "workflow-scheduler")

pytestmark = pytest.mark.skipif(os.getenv("STACK") != "docker", reason="needs the compose stack")


@pytest.fixture
def package(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """Watch a copy of this repository, whose code replaces that of the running stack."""
    copy = copy_repository(tmp_path / "copy")
    log = tmp_path / "watch.log"
    with log.open("w") as out:
        watching = subprocess.Popen(
            WATCH, cwd=copy.folder, stdout=out, stderr=out, start_new_session=True
        )
    wait_until(lambda: "Watch enabled" in log.read_text(), "docker compose watch")
    yield copy.folder / "workflow-service/workflow_service"
    os.killpg(watching.pid, signal.SIGINT)
    watching.wait()


def test_edited_code_runs_in_the_service_its_worker_and_its_scheduler(
    stack: Stack, package: Path, record_property: Callable[[str, object], None]
) -> None:
    mark = f"edited {time.time()}"
    files = {
        package / "main.py": f"\napp.description = {mark!r}\n",
        package / "celery_app.py": f"\nprint({mark!r}, flush=True)\n",
    }
    before = {file: file.read_text() for file in files}

    started = time.monotonic()
    for file, addition in files.items():
        file.write_text(before[file] + addition)

    wait_until(lambda: mark in read_openapi(stack), "the edited service", MAX_SECONDS)
    record_property("seconds until an edited service answers", round(time.monotonic() - started, 1))
    for name in PROCESSES[1:]:
        wait_until(partial(has_logged, stack, name, mark), name, MAX_SECONDS)
    record_property("seconds until its worker runs", round(time.monotonic() - started, 1))

    for file, text in before.items():
        file.write_text(text)
    wait_until(lambda: "openapi" in (s := read_openapi(stack)) and mark not in s, "the old code")
    for name in PROCESSES:
        stack.start(name)


def has_logged(stack: Stack, name: str, text: str) -> bool:
    return text in stack.read_logs(name)


def read_openapi(stack: Stack) -> str:
    """Return the document, or nothing while the service restarts."""
    try:
        return httpx.get(f"{stack.get_url('workflow-service')}/openapi.json").text
    except httpx.TransportError:
        return ""
