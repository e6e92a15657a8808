"""Tasks that go through a real Redis to a real worker."""

import gc
import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import kombu.exceptions
import pytest
from celery import Celery, signals
from celery.beat import Service

from chassis.celery_app import create_celery, schedule_task
from chassis.tracing import get_trace_id, trace_context
from tools.localdev.child_process import start_child, stop_child
from tools.localdev.servers import Redis, reserve_free_port, wait_until
from tools.localdev.services import ROOT
from tools.localdev.test_servers import TemporaryServers

from . import toy_tasks
from .toy import eventually, toy_settings

DATABASE = 62  # of Redis; no other test uses it


@pytest.fixture(scope="module")
def worker(
    servers: TemporaryServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], str]]:
    """Run a worker of the toy service; calling the result gives its log."""
    url = servers.redis.get_url(DATABASE)
    folder = tmp_path_factory.mktemp("worker")
    log = folder / "log"
    heartbeat = folder / "heartbeat"
    command = ["-m", "celery", "-A", "chassis.tests.toy_tasks", "worker", "--pool", "threads"]
    command += ["--concurrency", "2", "--without-mingle", "--without-gossip"]
    variables = {"TOY_BROKER_URL": url, "PYTHONPATH": str(ROOT), "HEARTBEAT_FILE": str(heartbeat)}
    process = start_child([sys.executable, *command], log, {**os.environ, **variables})
    try:
        toy_tasks.app.conf.update(broker_url=url)
        assert eventually(lambda: "ready" in log.read_text(), 30), log.read_text()
        yield log.read_text
        assert heartbeat.exists()
    finally:
        stop_child(process)


def notes(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def arrive(path: Path, count: int) -> bool:
    return eventually(lambda: len(notes(path)) == count, 10)


Worker = Callable[[], str]


def test_a_task_runs_under_the_trace_id_of_its_cause(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "notes"

    with trace_context("trace-of-the-request"):
        toy_tasks.note.delay("Grüße", str(path))

    assert arrive(path, 1)
    assert notes(path) == [{"words": "Grüße", "trace_id": "trace-of-the-request"}]


def test_tasks_of_tasks_share_the_trace(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "notes"

    with trace_context("trace-of-them-all"):
        toy_tasks.pass_on.delay("x", str(path))

    assert arrive(path, 1)
    assert notes(path)[0]["trace_id"] == "trace-of-them-all"


def test_tasks_without_a_trace_id_get_one_each(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "notes"

    for _ in range(10):
        toy_tasks.note.delay("x", str(path))

    assert arrive(path, 10)
    assert get_trace_id() is None
    traces = {note["trace_id"] for note in notes(path)}
    assert len(traces - {None}) == 10


def test_a_task_that_fails_is_logged_with_its_trace(worker: Worker, tmp_path: Path) -> None:
    with trace_context("trace-of-a-failure"):
        toy_tasks.fail.delay(str(tmp_path))

    def failures() -> list[dict[str, Any]]:
        lines = (json.loads(line) for line in worker().splitlines() if line.startswith("{"))
        return [line for line in lines if "as it should" in line.get("exc_info", "")]

    assert eventually(lambda: bool(failures()), 10)
    assert {line["trace_id"] for line in failures()} == {"trace-of-a-failure"}
    assert {line["service"] for line in failures()} == {"toy-service"}


def test_an_emptied_redis_loses_only_its_messages(
    worker: Worker, tmp_path: Path, servers: TemporaryServers
) -> None:
    before = tmp_path / "before"
    after = tmp_path / "after"
    for number in range(4):
        toy_tasks.note.delay(str(number), str(before), seconds=1)
    time.sleep(0.5)  # two are running, two are reserved

    flush(servers)
    for number in range(20):
        toy_tasks.note.delay(str(number), str(after))
    flush_at_rest = arrive(after, 20)
    flush(servers)
    toy_tasks.note.delay("last", str(after))

    assert flush_at_rest
    assert arrive(after, 21)
    assert max(Counter(note["words"] for note in notes(after)).values()) == 1
    assert arrive(before, 4)


def flush(servers: TemporaryServers) -> None:
    """Empty the Redis database of this test."""
    with socket.create_connection(("127.0.0.1", servers.redis.port)) as connection:
        connection.sendall(f"SELECT {DATABASE}\r\nFLUSHDB\r\n".encode())
        assert connection.recv(100).startswith(b"+OK")


@pytest.fixture
def unread() -> Iterator[int]:
    """Give the port of a Redis that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent.getsockname()[1]


def publish_fails_within(url: str, seconds: float) -> None:
    app = create_celery(toy_settings(), url)
    started = monotonic()

    with pytest.raises(kombu.exceptions.OperationalError):
        app.send_task("any")

    assert monotonic() - started < seconds


def test_publishing_without_redis_fails_at_once() -> None:
    publish_fails_within("redis://127.0.0.1:1/0", 1)


def test_publishing_to_a_redis_that_hangs_fails_in_time(unread: int) -> None:
    publish_fails_within(f"redis://127.0.0.1:{unread}/0", 3)


def test_publishing_works_again_when_redis_is_back(tmp_path: Path) -> None:
    redis = Redis(tmp_path / "redis", reserve_free_port(), durable=False)
    redis.prepare()
    app = create_celery(toy_settings(), redis.get_url())

    for _ in range(2):
        with pytest.raises(kombu.exceptions.OperationalError):
            app.send_task("any")
        with running(redis, tmp_path):
            app.send_task("any")
            assert redis.send_command("LLEN toy:queue:wakeups") == ":1\r\n"


@contextmanager
def running(redis: Redis, folder: Path) -> Iterator[None]:
    process = start_child(redis.command, folder / "log")
    try:
        wait_until(redis.is_ready, "Redis")
        yield
    finally:
        stop_child(process)


def test_threads_may_publish_side_by_side(worker: Worker, tmp_path: Path) -> None:
    path = tmp_path / "notes"

    def publish() -> None:
        for number in range(10):
            toy_tasks.note.delay(str(number), str(path))

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert arrive(path, 40)


def test_only_json_is_accepted() -> None:
    app = create_celery(toy_settings(), "redis://127.0.0.1:1/0")

    assert list(app.conf.accept_content) == ["json"]
    assert app.conf.task_serializer == "json"


def test_a_scheduler_says_that_it_has_started(caplog: pytest.LogCaptureFixture) -> None:
    app = Celery("toy")
    schedule_task(app, "toy.work", 5)

    with caplog.at_level("INFO"):
        signals.beat_init.send(sender=Service(app))

    assert "scheduler started: wakes toy.work every 5 s" in caplog.messages


def test_a_worker_that_is_ready_has_frozen_its_startup_objects() -> None:
    gc.unfreeze()

    signals.worker_ready.send(sender=None)

    assert gc.get_freeze_count() > 0
