"""How fast what was accepted is delivered, compared with what Celery and SMTP allow at most.

The worker has one core; its databases, the mail server and this program have the other. Cases take
turns, so that whatever else the machine does hits them alike; the medians count.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any
from uuid import UUID

import httpx
import psutil
from redis import Redis
from sqlalchemy import Engine, create_engine, make_url, text

from tools.benchmarks.harness.bars import Bar, report
from tools.benchmarks.harness.load import load
from tools.benchmarks.harness.stack import MEASURED_CORE, running_stack
from tools.localdev.child_process import leashed, let_go
from tools.localdev.layout import beats, responds
from tools.localdev.servers import free_port, wait_until
from tools.localdev.services import ROOT, SERVICES
from tools.localdev.stack import LocalDevStack

ROUNDS = 3
TASKS, IN_APP, MAILS = 3_000, 8_000, 2_400
BACKLOG = 100_000
IDLE_SENDS = 60
PEOPLE = 20
OVERRIDES = {"LOG_LEVEL": "WARNING"}  # a line for each request and delivery costs all cases alike
URGENT = {"channels": ["email"], "priority": "urgent"}
PINNED = ["taskset", "-c", str(MEASURED_CORE)]
CELERY = [sys.executable, "-m", "celery", "-A"]
# As in docker-compose.yml.
WORKER = ["worker", "--pool", "threads", "--concurrency", "4", "--without-gossip"]
WORKER += ["--without-mingle"]
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
IS_DRAINED = f"SELECT NOT EXISTS (SELECT {UNFINISHED})"  # asked often, on the core of the database
OVER = """
SELECT extract(epoch FROM max(finished_at))::float FROM communication_attempts
JOIN communication_deliveries ON communication_deliveries.id = delivery_id
WHERE notification_id = :id AND status = 'delivered'
"""
BODY = "On the Analytical Engine. " * 20


@dataclass
class Bench:
    """The stack, the people in it, and what was measured."""

    stack: LocalDevStack
    database: Engine
    people: list[UUID]
    client: httpx.Client
    results: dict[str, list[float]] = field(default_factory=dict)

    @property
    def heartbeat(self) -> Path:
        return self.stack.layout.folder / "measured.heartbeat"

    def note(self, case: str, value: float, unit: str = "/s") -> None:
        self.results.setdefault(case, []).append(value)
        print(f"  {case:<28}{value:>10.1f} {unit}", flush=True)

    def median(self, case: str) -> float:
        return statistics.median(self.results[case])

    def ask(self, statement: str, **values: Any) -> Any:
        with self.database.connect() as connection:
            result = connection.execute(text(statement), values)
            return result.scalar() if result.returns_rows else None

    @contextmanager
    def process(self, *command: str, **environment: str) -> Iterator[psutil.Process]:
        """On the measured core, with the communication service's environment."""
        everything = {
            **os.environ,
            **self.stack.layout.environment(COMMUNICATION),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(COMMUNICATION.folder)]),
            "HEARTBEAT_FILE": str(self.heartbeat),
            **environment,
        }
        self.heartbeat.unlink(missing_ok=True)
        log = self.stack.layout.folder / "measured.log"
        leash: Popen[bytes] = leashed([*PINNED, *command], log, everything)
        try:
            yield child(leash)
        finally:
            let_go(leash)


def child(leash: Popen[bytes]) -> psutil.Process:
    wait_until(lambda: bool(psutil.Process(leash.pid).children()), "the measured process")
    return psutil.Process(leash.pid).children()[0]


def main() -> None:
    with running_stack(OVERRIDES) as stack, mail_server(0) as fast, mail_server(0.02) as far:
        stack.stop("communication-worker")
        stack.stop("communication-service")
        bench = prepare(stack)
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", flush=True)
            measure_throughput(bench, fast)
        measure_latency(bench, fast, far)
    report(list(bars(bench)))


@contextmanager
def mail_server(delay: float) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "tools.benchmarks.communication_mail", "serve"]
    command += [str(port), str(delay)]
    leash = leashed(command, Path(os.devnull), {**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield port
    finally:
        let_go(leash)


def prepare(stack: LocalDevStack) -> Bench:
    identity = f"{stack.url('identity-service')}/api/v1/auth"
    people, token = [], ""
    with httpx.Client(timeout=30) as client:
        for number in range(PEOPLE):
            person = {"email": f"bench-{number}@example.com", "password": "a-long-bench-password"}
            client.post(f"{identity}/register", json={**person, "name": "Bench"}).raise_for_status()
            login = client.post(f"{identity}/login", json=person).raise_for_status().json()
            people.append(UUID(login["user_id"]))
            token = login["access_token"]
    url = make_url(stack.layout.environment(COMMUNICATION)["DATABASE_URL"])
    database = create_engine(
        url.set(drivername="postgresql+psycopg2"), isolation_level="AUTOCOMMIT"
    )
    headers = {"Authorization": f"Bearer {token}"}
    return Bench(stack, database, people, httpx.Client(headers=headers, timeout=30))


def measure_throughput(bench: Bench, smtp_port: int) -> None:
    bench.note("Celery, tasks that do nothing", nothing(bench))
    with worker(bench, smtp_port) as process:
        bench.note("delivered in-app", drained(bench, process, "in_app", IN_APP))
        bench.note("mail, bare loop", bare_loop(bench, smtp_port))
        bench.note("delivered by mail", drained(bench, process, "email", MAILS))


def nothing(bench: Bench) -> float:
    """Tasks per second: they are queued while the worker stands still, then it may go."""
    broker = Redis.from_url(bench.stack.layout.environment(COMMUNICATION)["CELERY_BROKER_URL"])
    command = [*CELERY, "tools.benchmarks.communication_tasks"]
    queue = "communication:queue:nothing"
    with bench.process(*command, *WORKER) as process:
        wait_for(lambda: beats(bench.heartbeat))
        process.suspend()
        enqueue(bench)
        began = time.perf_counter()
        process.resume()
        wait_for(lambda: not broker.llen(queue) and not broker.hlen("unacked"))
        return TASKS / (time.perf_counter() - began)


def enqueue(bench: Bench) -> None:
    script = "from tools.benchmarks.communication_tasks import nothing\n"
    script += f"for _ in range({TASKS}): nothing.delay()"
    with bench.process(sys.executable, "-c", script) as process:
        process.wait()


@contextmanager
def worker(bench: Bench, smtp_port: int) -> Iterator[psutil.Process]:
    command = [*CELERY, "communication_service.celery_app", *WORKER]
    mail = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(smtp_port)}
    with bench.process(*command, **mail) as process:
        wait_for(lambda: beats(bench.heartbeat))
        yield process


def drained(bench: Bench, process: psutil.Process, channel: str, count: int) -> float:
    """Deliveries per second, from a queue that is full at the start."""
    process.suspend()
    fill(bench, channel, count)
    time.sleep(3.5)  # by now the scheduler has left a hint for each thread
    began = time.perf_counter()
    process.resume()
    wait_for(lambda: bench.ask(IS_DRAINED))
    return count / (time.perf_counter() - began)


def fill(bench: Bench, channel: str, count: int, priority: int = 1) -> None:
    values = {
        "people": bench.people,
        "many": PEOPLE,
        "body": BODY,
        "channel": channel,
        "priority": priority,
    }
    bench.ask(FILL, count=count, **values)


def bare_loop(bench: Bench, smtp_port: int) -> float:
    """Mails per second of the same SMTP client, with a mail that is made already."""
    command = [*PINNED, sys.executable, "-m", "tools.benchmarks.communication_mail", "send"]
    said = subprocess.run(
        [*command, str(smtp_port), str(MAILS)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True,
    )  # fmt: skip
    return float(said.stdout)


def measure_latency(bench: Bench, fast: int, far: int) -> None:
    """One by one and in a storm; then the same with a backlog that a far mail server keeps up."""
    port = free_port()
    app = [sys.executable, "-m", "uvicorn", "communication_service.main:app", "--port", str(port)]
    app += ["--log-level", "warning", "--no-access-log"]
    with bench.process(*app):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: responds(f"{url}/health/ready"), "the service")
        with worker(bench, fast):
            bench.note("accept to delivered, p95", latency(bench, url), "ms")
        with worker(bench, far) as process:
            bench.note("urgent mail, p95", latency(bench, url, **URGENT), "ms")
            process.suspend()
            bench.note("accepted", accepted(bench, url))
            fill(bench, "email", BACKLOG, priority=2)
            bench.note("accepted, backlog", accepted(bench, url))
            process.resume()
            bench.note("urgent mail, backlog, p95", latency(bench, url, **URGENT), "ms")
            bench.note("backlog that was left", bench.ask(LEFT), "")


def latency(bench: Bench, url: str, **fields: Any) -> float:
    """Milliseconds from the request to what the attempt says of its end, the 95th percentile."""
    took = []
    for _ in range(IDLE_SENDS):
        new = {"recipient_id": str(bench.people[0]), "subject": "Hi", "body": BODY, **fields}
        began = time.time()
        sent = bench.client.post(f"{url}/api/v1/notifications", json=new).raise_for_status().json()
        wait_for(lambda: bench.ask(OVER, id=sent["id"]) is not None)  # noqa: B023
        took.append((bench.ask(OVER, id=sent["id"]) - began) * 1000)
        time.sleep(0.1)
    return float(statistics.quantiles(took, n=20)[-1])


def accepted(bench: Bench, url: str) -> float:
    new = {"recipient_id": str(bench.people[0]), "subject": "Hi", "body": BODY}
    body = json.dumps({**new, "channels": ["in_app"]}).encode()
    headers = {"Authorization": bench.client.headers["Authorization"]}
    result = load(f"{url}/api/v1/notifications", headers, seconds=5, body=body)
    if result.failures:
        sys.exit(f"{result.failures} requests failed")
    bench.ask("DELETE FROM communication_deliveries WHERE channel = 'in_app' AND attempts = 0")
    return result.per_second


def bars(bench: Bench) -> Iterator[Bar]:
    tasks, in_app = bench.median("Celery, tasks that do nothing"), bench.median("delivered in-app")
    bare, mail = bench.median("mail, bare loop"), bench.median("delivered by mail")
    yield Bar("in-app-of-tasks", in_app / tasks, 2)
    yield Bar("mail-of-bare-loop", mail / bare, 0.7)
    yield Bar(
        "accept-to-delivered-p95-ms", bench.median("accept to delivered, p95"), 150, most=True
    )
    slower = bench.median("accepted") / bench.median("accepted, backlog")
    yield Bar("accept-slower-with-backlog", slower, 1.5, most=True)
    later = bench.median("urgent mail, backlog, p95") / bench.median("urgent mail, p95")
    yield Bar("urgent-later-with-backlog", later, 1.5, most=True)


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            sys.exit("waited in vain")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
