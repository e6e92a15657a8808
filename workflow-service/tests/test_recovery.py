"""Real workers and a real scheduler: killed in the middle of a step, and with Redis emptied."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from typing import Any
from unittest.mock import patch

import httpx
import pytest

from tools.localdev.layout import WITHOUT_PEERS
from tools.localdev.test_servers import TemporaryServers
from workflow_service.settings import SERVICE_FOLDER, settings

from .conftest import Caller
from .fakes import Platform, problem

TELL = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}
PATIENCE = 60  # seconds; the machine may be busy
LEASE_SECONDS = 1.0
WORKER = ("worker", "--pool", "threads", "--concurrency", "4", *WITHOUT_PEERS)
FORKED = multiprocessing.get_context("forkserver")

Start = Callable[..., ForkServerProcess]


@contextmanager
def served(platform: Platform, name: str) -> Iterator[str]:
    """One of the neighbours, over real HTTP; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = f"http://{name}{self.path}"
            request = httpx.Request(self.command, url, headers=dict(self.headers), content=body)
            response = asyncio.run(platform.handle_async_request(request))
            self.send_response(response.status_code)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_: Any) -> None:
            """Not a line per request."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", autouse=True)
def imported(database: None, the_platform: Platform) -> Iterator[None]:
    """A process that has the service imported, and of which workers are forked in no time."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(map(str, (SERVICE_FOLDER.parent, SERVICE_FOLDER))),
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "CELERY_BROKER_URL": settings.celery_broker_url,
        "STEP_LEASE_SECONDS": str(LEASE_SECONDS),
    }
    with ExitStack() as neighbours:
        for name in ("identity", "content", "communication"):
            url = neighbours.enter_context(served(the_platform, f"{name}-service"))
            environment[f"{name.upper()}_SERVICE_URL"] = url
        forkserver.set_forkserver_preload(["workflow_service.celery_app"])
        with patch.dict(os.environ, environment, clear=True):
            forkserver.ensure_running()
        yield


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `worker` or `beat` with the options of production; nothing is left behind."""
    started: list[ForkServerProcess] = []

    def start(*command: str) -> ForkServerProcess:
        code = f"from workflow_service.celery_app import celery; celery.start({[*command]})"
        started.append(FORKED.Process(target=exec, args=[code]))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()  # a stopped one too
        process.join()


def ended(starter: Caller, run: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = starter.run(run)
        if found["status"] in ("completed", "failed"):
            return found
        time.sleep(0.1)
    raise AssertionError(f"still {found['status']}: {starter.history(run)}")


def test_a_worker_killed_in_the_middle_of_a_step_changes_nothing_but_the_time(
    starter: Caller, platform: Platform, start: Start
) -> None:
    asked, released = threading.Event(), threading.Event()

    def hold_the_first(_: httpx.Request) -> None:
        if not asked.is_set():
            asked.set()
            released.wait(PATIENCE)

    platform.before = hold_the_first
    steps = {"one": TELL | {"next": "two"}, "two": TELL | {"next": "three"}, "three": TELL}
    run = starter.start(starter.publish(steps))
    start("beat")
    worker = start(*WORKER)
    assert asked.wait(PATIENCE)

    worker.kill()
    released.set()
    start(*WORKER)

    finished = ended(starter, run)
    first = [event for event in starter.history(run) if event["step"] == "one"]
    assert finished["status"] == "completed"
    assert [step["status"] for step in finished["steps"]] == ["done"] * 3
    assert [e["attempt"] for e in first if e["type"] == "step.started"] == [1, 2]
    assert len(platform.communication.to(starter.user_id)) == 3


def test_an_emptied_redis_loses_no_work(
    starter: Caller, platform: Platform, start: Start, servers: TemporaryServers
) -> None:
    refusals = [problem(503, "Not now") for _ in range(4)]
    platform.before = lambda _: refusals.pop() if refusals else None
    start("beat")
    start(*WORKER)
    name = starter.publish({"one": TELL | {"next": "two"}, "two": TELL})
    before = starter.start(name)
    assert servers.redis.send_command("FLUSHALL").startswith("+OK")
    after = starter.start(name)
    assert servers.redis.send_command("FLUSHALL").startswith("+OK")

    assert ended(starter, before)["status"] == "completed"
    assert ended(starter, after)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 4


def test_ten_kills_in_a_run_of_twenty_steps_and_each_step_has_its_effect_once(
    starter: Caller, platform: Platform, start: Start
) -> None:
    steps = {f"s{n}": TELL | {"next": f"s{n + 1}"} for n in range(19)} | {"s19": TELL}
    calls = threading.Semaphore(0)

    def count(_: httpx.Request) -> None:
        calls.release()
        time.sleep(0.02)

    platform.before = count
    run = starter.start(starter.publish(steps))
    start("beat")
    workers = [start(*WORKER) for _ in range(3)]

    for _ in range(10):
        assert calls.acquire(timeout=PATIENCE)
        workers.pop(0).kill()
        workers.append(start(*WORKER))

    assert ended(starter, run)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 20
    assert [e["step"] for e in starter.history(run) if e["type"] == "step.done"] == [*steps]


def test_a_frozen_workers_step_is_taken_over_and_its_answer_is_evidence(
    starter: Caller, platform: Platform, start: Start
) -> None:
    asked, released = threading.Event(), threading.Event()

    def hold_the_first(_: httpx.Request) -> None:
        if not asked.is_set():
            asked.set()
            released.wait(PATIENCE)

    platform.before = hold_the_first
    run = starter.start(starter.publish({"one": TELL | {"next": "two"}, "two": TELL}))
    start("beat")
    frozen = start(*WORKER)
    assert asked.wait(PATIENCE)
    os.kill(frozen.pid or 0, signal.SIGSTOP)
    start(*WORKER)
    assert ended(starter, run)["status"] == "completed"

    os.kill(frozen.pid or 0, signal.SIGCONT)
    released.set()

    late = eventually(
        lambda: [e for e in starter.history(run) if e["type"] == "step.result_discarded"]
    )
    assert (late[0]["step"], late[0]["attempt"]) == ("one", 1)
    assert late[0]["data"]["result"]["output"]["status"] == "queued"
    assert len(platform.communication.to(starter.user_id)) == 2


def test_a_step_that_takes_longer_than_a_lease_keeps_it_by_its_heartbeat(
    starter: Caller, platform: Platform, start: Start
) -> None:
    platform.before = lambda _: time.sleep(2 * LEASE_SECONDS)
    run = starter.start(starter.publish({"one": TELL}))
    start("beat")
    for _ in range(2):
        start(*WORKER)

    assert ended(starter, run)["status"] == "completed"
    assert [e["type"] for e in starter.history(run)].count("step.started") == 1


def test_a_worker_that_has_to_stop_ends_what_it_has_begun(
    starter: Caller, platform: Platform, start: Start
) -> None:
    asked, released = threading.Event(), threading.Event()

    def hold(_: httpx.Request) -> None:
        asked.set()
        released.wait(PATIENCE)

    platform.before = hold
    run = starter.start(starter.publish({"one": TELL | {"next": "two"}, "two": TELL}))
    start("beat")  # or a hint that Redis gave to a worker just killed would be the only one
    worker = start(*WORKER)
    assert asked.wait(PATIENCE)

    worker.terminate()
    time.sleep(1)  # it has heard
    released.set()

    worker.join(PATIENCE)
    assert worker.exitcode == 0
    steps = {step["name"]: step["status"] for step in starter.run(run)["steps"]}
    assert steps == {"one": "done", "two": "pending"}


def eventually(find: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while not (found := find()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found
