"""Tests the stack without Docker in trouble: `make up` repairs it, or says what to do."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tools.localdev.layout import Layout, reserve_free_ports
from tools.localdev.servers import HOST, Postgres, StartError, is_open, reserve_free_port
from tools.localdev.services import ROOT, SERVICES
from tools.localdev.stack import LocalDevStack


@pytest.fixture
def made(tmp_path: Path) -> Iterator[LocalDevStack]:
    """Create a stack for one test that outlives this process, as that of `make up` does."""
    made = LocalDevStack(tmp_path / "stack", reserve_free_ports(), say=lambda _: None)
    yield made
    made.reset()


def start_servers(made: LocalDevStack) -> None:
    made.layout.folder.mkdir(exist_ok=True)
    made.layout.prepare()
    made.supervisor.apply(made.processes.values(), made.as_child)
    made.start_and_wait(made.layout.build_servers())


def get_pids(made: LocalDevStack) -> dict[str, int]:
    return {
        name: state["pid"] for name, state in made.supervisor.get_states().items() if state["pid"]
    }


def test_a_taken_port_is_named_with_who_has_it(made: LocalDevStack) -> None:
    taken = socket.create_server((HOST, made.layout.ports["mail"]))
    with taken, pytest.raises(StartError, match=f"for mail is taken by process {os.getpid()}"):
        made.up()

    assert not made.supervisor.is_running()


def test_a_full_disk_is_said_before_anything_starts(made: LocalDevStack) -> None:
    made.min_free_bytes = 1024**6

    with pytest.raises(StartError, match="The disk is full"):
        made.up()

    assert not made.supervisor.is_running()


def test_servers_that_run_are_left_as_they_are(made: LocalDevStack) -> None:
    start_servers(made)
    before = get_pids(made)

    start_servers(made)

    assert before and get_pids(made) == before


def test_what_a_killed_supervisor_left_running_ends_before_its_data_go(made: LocalDevStack) -> None:
    start_servers(made)
    left = [psutil.Process(pid) for pid in get_pids(made).values()]
    os.kill(made.supervisor.call_supervisord("getPID"), signal.SIGKILL)
    assert is_open(made.layout.postgres.port)

    made.reset()

    assert [process.cmdline() for process in left if process.is_running()] == []
    assert not made.layout.folder.exists()


def test_an_interrupted_initdb_is_begun_anew(tmp_path: Path) -> None:
    postgres = Postgres(tmp_path / "postgres", reserve_free_port())
    code = "from pathlib import *; from tools.localdev.servers import *; " + repr(postgres)
    attempt = subprocess.Popen(
        [sys.executable, "-c", f"{code}.prepare()"], cwd=ROOT, start_new_session=True
    )
    while not list(postgres.folder.rglob("PG_VERSION")):
        time.sleep(0.001)
    os.killpg(attempt.pid, signal.SIGKILL)
    attempt.wait()

    postgres.prepare()

    assert (postgres.data / "global" / "pg_control").exists()


def test_a_stack_of_tests_has_nothing_of_the_developer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    made = LocalDevStack(
        tmp_path / "stack", reserve_free_ports(), as_child=True, say=lambda _: None
    )
    try:
        start_servers(made)

        assert "canary" not in psutil.Process(get_pids(made)["mail"]).environ().values()
    finally:
        made.reset()


def test_the_variables_of_the_shared_file_may_be_referred_to(tmp_path: Path) -> None:
    environment = Layout(tmp_path, reserve_free_ports(), {}).get_environment(SERVICES[0])

    assert environment["JWT_SECRET_KEY"] == environment["SHARED_JWT_SECRET"]
