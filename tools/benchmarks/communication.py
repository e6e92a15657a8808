"""Measures how fast notifications are delivered, compared with what Celery and SMTP allow."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psutil
from redis import Redis
from sqlalchemy import Engine, create_engine, make_url, text

from tools.benchmarks.auth import OVERRIDES
from tools.benchmarks.communication_mail import BODY, run_mail_server
from tools.benchmarks.harness import wait_for
from tools.benchmarks.harness.bars import Bar, report
from tools.benchmarks.harness.load import run_load
from tools.benchmarks.harness.stack import MEASURED_CORE, build_environment, run_stack
from tools.localdev.child_process import start_child, stop_child
from tools.localdev.layout import CELERY_ARGUMENTS, has_heartbeat, is_responding
from tools.localdev.servers import reserve_free_port, wait_until
from tools.localdev.services import ROOT, SERVICES
from tools.localdev.stack import LocalDevStack

ROUNDS = 3
TASKS = 3_000
IN_APP = 8_000
MAILS = 2_400
BACKLOG = 100_000
IDLE_SENDS = 60
PEOPLE = 20
URGENT = {"channels": ["email"], "priority": "urgent"}
PINNED = ["taskset", "-c", str(MEASURED_CORE)]
CELERY = [sys.executable, "-m", "celery", "-A"]
WORKER = CELERY_ARGUMENTS["worker"]
COMMUNICATION = next(service for service in SERVICES if service.short == "communication")

FILL = """
WITH made AS (
    INSERT INTO communication_notifications
        (id, sender_id, recipient_id, category, subject, body, created_at)
    SELECT gen_random_uuid(), gen_random_uuid(), (CAST(:people AS uuid[]))[1 + n % :many],
        'bench', 'Hello', :body, now()
    FROM generate_series(1, :count) n RETURNING id
)
INSERT INTO communication_deliveries
    (id, notification_id, channel, priority, status, run_at, queued_at, attempts, fence)
SELECT gen_random_uuid(), id, :channel, :priority, 'pending', now(), now(), 0, 0
FROM made
"""
UNFINISHED = "FROM communication_deliveries WHERE status IN ('pending', 'running')"
LEFT = f"SELECT count(*) {UNFINISHED}"
IS_DRAINED = f"SELECT NOT EXISTS (SELECT {UNFINISHED})"  # polled often, on the core of the database
OVER = """
SELECT extract(epoch FROM max(finished_at))::float FROM communication_attempts
JOIN communication_deliveries ON communication_deliveries.id = delivery_id
WHERE notification_id = :id AND status = 'delivered'
"""


@dataclass
class Bench:
    """Holds the stack, its users, and the measured values."""

    stack: LocalDevStack
    database: Engine
    people: list[UUID]
    client: httpx.Client
    results: dict[str, list[float]] = field(default_factory=dict)

    @property
    def heartbeat(self) -> Path:
        return self.stack.layout.folder / "measured.heartbeat"

    def record(self, case: str, value: float, unit: str = "/s") -> None:
        self.results.setdefault(case, []).append(value)
        print(f"  {case:<28}{value:>10.1f} {unit}", flush=True)

    def query(self, statement: str, **values: Any) -> Any:
        with self.database.connect() as connection:
            result = connection.execute(text(statement), values)
            return result.scalar() if result.returns_rows else None

    @contextmanager
    def run_process(self, *command: str, **environment: str) -> Iterator[psutil.Process]:
        """Run a process on the measured core with the communication service's environment."""
        environment["HEARTBEAT_FILE"] = str(self.heartbeat)
        everything = build_environment(self.stack, "communication", environment)
        self.heartbeat.unlink(missing_ok=True)
        log = self.stack.layout.folder / "measured.log"
        launcher = start_child([*PINNED, *command], log, everything)
        try:
            process = psutil.Process(launcher.pid)
            yield wait_for(process.children, seconds=30)[0]
        finally:
            stop_child(launcher)


def main() -> None:
    with run_stack(OVERRIDES) as stack, run_mail_server(0) as fast, run_mail_server(0.02) as far:
        stack.stop("communication-worker")
        stack.stop("communication-service")
        bench = prepare(stack)
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", flush=True)
            measure_throughput(bench, fast)
        measure_latency(bench, fast, far)
    report(list(build_bars(bench)))


def prepare(stack: LocalDevStack) -> Bench:
    identity = f"{stack.get_url('identity-service')}/api/v1/auth"
    people = []
    with httpx.Client(timeout=30) as client:
        for number in range(PEOPLE):
            person = {"email": f"bench-{number}@example.com", "password": "a-long-bench-password"}
            client.post(f"{identity}/register", json={**person, "name": "Bench"}).raise_for_status()
            login = client.post(f"{identity}/login", json=person).raise_for_status().json()
            people.append(UUID(login["user_id"]))
    url = make_url(stack.layout.get_environment(COMMUNICATION)["DATABASE_URL"])
    url = url.set(drivername="postgresql+psycopg2")
    database = create_engine(url, isolation_level="AUTOCOMMIT")
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    return Bench(stack, database, people, httpx.Client(headers=headers, timeout=30))


def measure_throughput(bench: Bench, smtp_port: int) -> None:
    bench.record("Celery, tasks that do nothing", measure_empty_tasks(bench))
    with run_worker(bench, smtp_port) as process:
        bench.record("delivered in-app", measure_drain(bench, process, "in_app", IN_APP))
        bench.record("mail, bare loop", measure_bare_loop(bench, smtp_port))
        bench.record("delivered by mail", measure_drain(bench, process, "email", MAILS))


def measure_empty_tasks(bench: Bench) -> float:
    """Measure tasks per second, all of them queued while the worker is suspended."""
    broker = Redis.from_url(bench.stack.layout.get_environment(COMMUNICATION)["CELERY_BROKER_URL"])
    command = [*CELERY, "tools.benchmarks.communication_tasks"]
    queue = "communication:queue:nothing"
    with bench.run_process(*command, *WORKER) as process:
        wait_for(lambda: has_heartbeat(bench.heartbeat))
        process.suspend()
        script = "from tools.benchmarks.communication_tasks import do_nothing\n"
        script += f"for _ in range({TASKS}): do_nothing.delay()"
        with bench.run_process(sys.executable, "-c", script) as sender:
            sender.wait()
        began = time.perf_counter()
        process.resume()
        wait_for(lambda: not broker.llen(queue) and not broker.hlen("unacked"))
        return TASKS / (time.perf_counter() - began)


@contextmanager
def run_worker(bench: Bench, smtp_port: int) -> Iterator[psutil.Process]:
    command = [*CELERY, "communication_service.celery_app", *WORKER]
    mail = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(smtp_port)}
    with bench.run_process(*command, **mail) as process:
        wait_for(lambda: has_heartbeat(bench.heartbeat))
        yield process


def measure_drain(bench: Bench, process: psutil.Process, channel: str, count: int) -> float:
    """Measure deliveries per second from a queue that is full at the start."""
    process.suspend()
    fill(bench, channel, count)
    time.sleep(3.5)  # by then the scheduler has sent a wake-up message for each thread
    began = time.perf_counter()
    process.resume()
    wait_for(lambda: bench.query(IS_DRAINED))
    return count / (time.perf_counter() - began)


def fill(bench: Bench, channel: str, count: int, priority: int = 1) -> None:
    values = {"people": bench.people, "many": PEOPLE, "body": BODY}
    bench.query(FILL, count=count, channel=channel, priority=priority, **values)


def measure_bare_loop(bench: Bench, smtp_port: int) -> float:
    """Measure mails per second of the same SMTP client with a prepared mail."""
    command = [*PINNED, sys.executable, "-m", "tools.benchmarks.communication_mail", "send"]
    command += [str(smtp_port), str(MAILS)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, check=True)
    return float(done.stdout)


def measure_latency(bench: Bench, fast: int, far: int) -> None:
    """Measure latencies one by one, then with a backlog that a slow mail server keeps alive."""
    port = reserve_free_port()
    app = [sys.executable, "-m", "uvicorn", "communication_service.main:app", "--port", str(port)]
    app += ["--log-level", "warning", "--no-access-log"]
    with bench.run_process(*app):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_responding(f"{url}/health/ready"), "the service")
        with run_worker(bench, fast):
            bench.record("accept to delivered, p95", measure_send_latency(bench, url), "ms")
        with run_worker(bench, far) as process:
            bench.record("urgent mail, p95", measure_send_latency(bench, url, **URGENT), "ms")
            process.suspend()
            bench.record("accepted", measure_accept_rate(bench, url))
            fill(bench, "email", BACKLOG, priority=2)
            bench.record("accepted, backlog", measure_accept_rate(bench, url))
            process.resume()
            late = measure_send_latency(bench, url, **URGENT)
            bench.record("urgent mail, backlog, p95", late, "ms")
            bench.record("backlog that was left", bench.query(LEFT), "")


def measure_send_latency(bench: Bench, url: str, **fields: Any) -> float:
    """Measure the 95th percentile from request to finished attempt, in milliseconds."""
    took = []
    for _ in range(IDLE_SENDS):
        new = {"recipient_id": str(bench.people[0]), "subject": "Hi", "body": BODY, **fields}
        began = time.time()
        sent = bench.client.post(f"{url}/api/v1/notifications", json=new).raise_for_status().json()
        wait_for(lambda: bench.query(OVER, id=sent["id"]) is not None)  # noqa: B023
        took.append((bench.query(OVER, id=sent["id"]) - began) * 1000)
        time.sleep(0.1)
    return float(statistics.quantiles(took, n=20)[-1])


def measure_accept_rate(bench: Bench, url: str) -> float:
    new = {"recipient_id": str(bench.people[0]), "subject": "Hi", "body": BODY}
    body = json.dumps({**new, "channels": ["in_app"]}).encode()
    headers = {"Authorization": bench.client.headers["Authorization"]}
    result = run_load(f"{url}/api/v1/notifications", headers, seconds=5, body=body)
    if result.failures:
        sys.exit(f"{result.failures} requests failed")
    bench.query("DELETE FROM communication_deliveries WHERE channel = 'in_app' AND attempts = 0")
    return result.per_second


def build_bars(bench: Bench) -> Iterator[Bar]:
    of = {case: statistics.median(values) for case, values in bench.results.items()}
    yield Bar("in-app-of-tasks", of["delivered in-app"] / of["Celery, tasks that do nothing"], 2)
    yield Bar("mail-of-bare-loop", of["delivered by mail"] / of["mail, bare loop"], 0.7)
    yield Bar("accept-to-delivered-p95-ms", of["accept to delivered, p95"], 150, is_maximum=True)
    slower = of["accepted"] / of["accepted, backlog"]
    yield Bar("accept-slower-with-backlog", slower, 1.5, is_maximum=True)
    later = of["urgent mail, backlog, p95"] / of["urgent mail, p95"]
    yield Bar("urgent-later-with-backlog", later, 1.5, is_maximum=True)


if __name__ == "__main__":
    main()
