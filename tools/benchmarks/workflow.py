"""Measures the engine's steps per second and latency, against Celery's bare rate, in one run.

Every step is a `wait` of zero seconds: it is claimed, executed by a thread, finished and written to
the history like any other, but calls no other service. The gain of a second worker, on the free
core, is measured with a first one that shares its core with everything else. These steps cost the
database nearly as much as the worker, so offline summaries are measured too.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import Any

import httpx
import psycopg2  # type: ignore[import-untyped]
import redis
from celery import Celery

from tools.benchmarks.auth import OVERRIDES
from tools.benchmarks.harness import wait_for
from tools.benchmarks.harness.bars import Bar, report
from tools.benchmarks.harness.stack import MEASURED_CORE, OTHER_CORE, build_environment, run_stack
from tools.localdev.child_process import start_child, stop_child
from tools.localdev.stack import LocalDevStack

ROUNDS = 3
MESSAGES = 2000
RUNS = 50
STEPS = 20
ITEMS = 100
WAITING = 100_000
ADMIN = {"email": "admin@example.com", "password": "demo-password-1"}

NOTHING: dict[str, Any] = {"kind": "wait", "with": {"seconds": 0}}
SUMMARY: dict[str, Any] = {"kind": "ai.summarize", "with": {"text": "input.text"}}
TEXT = " ".join(f"In {n} the clerk counted the wheels of mill {n % 17}." for n in range(300))


def build_chain(step: dict[str, Any], count: int) -> dict[str, Any]:
    names = [f"s{n}" for n in range(count)]
    return {a: step | {"next": b} for a, b in pairwise(names)} | {names[-1]: step}


DEFINITIONS = {
    "bench-sequence": build_chain(NOTHING, STEPS),
    "bench-fan": {
        "each": {"kind": "foreach", "with": {"items": "input.items", "limit": 100}, "do": "one"},
        "one": NOTHING,
    },
    "bench-summaries": build_chain(SUMMARY, 4),
}
NUMBERS = {"type": "array", "items": {"type": "integer"}}
INPUT = {"type": "object", "properties": {"items": NUMBERS, "text": {"type": "string"}}}

FILL = """
INSERT INTO workflow_runs (id, definition_id, definition, version, status, input, trace_id,
                           started_by, depth, size)
SELECT gen_random_uuid(), d.id, d.name, d.version, 'waiting', '{{}}', md5(n::text), 'bench', 0, 1
FROM generate_series(1, {count}) n, workflow_definitions d
WHERE d.name = 'bench-sequence' AND d.retired_at IS NULL;
INSERT INTO workflow_steps (id, key, run_id, scope, name, kind, input, memory, status, run_at,
                            attempts, fence)
SELECT gen_random_uuid(), gen_random_uuid(), id, '', 's0', 'wait', '{{"seconds": 1}}', '{{}}',
       'waiting', CASE WHEN id::text < '8' THEN now() + interval '30 days'
                       ELSE timestamptz '9999-12-31+00' END, 1, 1
FROM workflow_runs WHERE started_by = 'bench';
"""
# The history refers to steps; without the index each deleted step would scan it.
EMPTY = """
CREATE INDEX bench ON workflow_history (step_id);
DELETE FROM workflow_steps USING workflow_runs r WHERE run_id = r.id AND started_by = 'bench';
DELETE FROM workflow_runs WHERE started_by = 'bench';
DROP INDEX bench
"""


class Bench:
    """Holds the measured platform and a client with every permission."""

    def __init__(self, stack: LocalDevStack) -> None:
        self.stack = stack
        self.environment = build_environment(stack, "workflow")
        login = f"{stack.get_url('identity-service')}/api/v1/auth/login"
        token = httpx.post(login, json=ADMIN).raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        api = f"{stack.get_url('workflow-service')}/api/v1"
        self.api = httpx.Client(base_url=api, headers=headers, timeout=60)
        self.redis = redis.Redis.from_url(self.environment["REDIS_URL"])
        self.celery = Celery(broker=self.environment["CELERY_BROKER_URL"])
        self.celery.conf.task_default_queue = "workflow:queue:wakeups"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.database = psycopg2.connect(self.environment["DATABASE_URL"])
        self.database.autocommit = True
        for name, steps in DEFINITIONS.items():
            new = {"name": name, "title": name, "input": INPUT, "start": next(iter(steps))}
            self.api.post("/definitions", json=new | {"steps": steps}).raise_for_status()

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with self.database.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def run_worker(self, core: int) -> Iterator[None]:
        command = ["taskset", "-c", str(core), sys.executable, "-m", "celery"]
        command += ["-A", "tools.benchmarks.workflow_worker", "worker", "--pool", "threads"]
        log = self.stack.layout.folder / f"measured-{core}.log"
        options = ["--concurrency", "4", "--without-mingle", "-l", "warning"]
        self.workers.append(start_child([*command, *options], log, self.environment))
        try:
            wait_for(self.are_workers_ready)
            yield
        finally:
            stop_child(self.workers.pop())

    def are_workers_ready(self) -> bool:
        return len(self.celery.control.ping(timeout=0.3) or []) == len(self.workers)

    def signal_workers(self, number: signal.Signals) -> None:
        for worker in self.workers:
            os.killpg(worker.pid, number)  # each worker leads a session of its own

    def measure_no_ops(self, count: int) -> float:
        """Measure no-op tasks per second, all sent before the first one ends."""
        self.redis.delete("bench:seconds")
        for _ in range(4):
            self.celery.send_task("bench.pause", [count / 1500], ignore_result=True)
        for _ in range(count):
            self.celery.send_task("bench.nothing", [count], ignore_result=True)
        return count / float(wait_for(lambda: self.redis.get("bench:seconds")))

    def start_run(self, name: str, **given: Any) -> str:
        new = {"definition": name, "input": given}
        return str(self.api.post("/workflows", json=new).raise_for_status().json()["id"])

    def wait_for_end(self, ids: list[str]) -> None:
        quoted = ", ".join(f"'{each}'" for each in ids)
        left = f"SELECT count(*) FROM workflow_runs WHERE id IN ({quoted}) AND finished_at IS NULL"
        wait_for(lambda: self.query(left)[0][0] == 0)

    def measure_rate(self, name: str, count: int, **given: Any) -> float:
        """Measure steps per second of runs that are all started while the workers are stopped."""
        self.signal_workers(signal.SIGSTOP)
        ids = [self.start_run(name, **given) for _ in range(count)]
        self.signal_workers(signal.SIGCONT)
        self.wait_for_end(ids)
        quoted = ", ".join(f"'{each}'" for each in ids)
        [(steps, seconds)] = self.query(
            "SELECT count(*), extract(epoch from max(at) - min(at)) FROM workflow_history"
            f" WHERE run_id IN ({quoted}) AND type = 'step.done'"
        )
        return float(steps) / float(seconds)

    def measure_latency(self) -> float:
        """Measure the seconds between the ends of two steps of a single run."""
        run = self.start_run("bench-sequence")
        self.wait_for_end([run])
        found = self.query(
            "SELECT extract(epoch from at) FROM workflow_history"
            f" WHERE run_id = '{run}' AND type = 'step.done' ORDER BY id"
        )
        return median(float(b - a) for (a,), (b,) in pairwise(found))

    def measure_start_seconds(self) -> float:
        """Measure the seconds that POST /workflows takes."""
        times = []
        for _ in range(20):
            began = time.perf_counter()
            run = self.start_run("bench-sequence")
            times.append(time.perf_counter() - began)
            self.wait_for_end([run])
        return median(times)


def main() -> None:
    results: dict[str, list[float]] = {}
    with run_stack(OVERRIDES) as stack:
        bench = Bench(stack)
        stack.stop("workflow-worker")
        with bench.run_worker(MEASURED_CORE):
            bench.measure_no_ops(100)
            for number in range(ROUNDS):
                print(f"round {number + 1} of {ROUNDS}", flush=True)
                record(results, "no-op", bench.measure_no_ops(MESSAGES))
                measure(results, bench, "")
                bench.query(FILL.format(count=WAITING))
                bench.query("VACUUM ANALYZE workflow_runs, workflow_steps")
                measure(results, bench, " full")
                bench.query(EMPTY)
                bench.query("VACUUM ANALYZE workflow_runs, workflow_steps")
        with bench.run_worker(OTHER_CORE):
            for _ in range(ROUNDS):
                compare(results, bench, "one worker")
                with bench.run_worker(MEASURED_CORE):
                    compare(results, bench, "two workers")
    for name, values in results.items():
        print(f"{name:<24}{median(values):>10.4g}   of {', '.join(f'{v:.4g}' for v in values)}")
    of = {name: median(values) for name, values in results.items()}
    for what in ("steps", "summaries"):
        times = of[f"{what}, two workers"] / of[f"{what}, one worker"]
        print(f"A second worker, on a core that was free: {times:.2f} times the {what}")
    report(list(build_bars(of)))


def measure(results: dict[str, list[float]], bench: Bench, how: str) -> None:
    record(results, f"sequence{how}", bench.measure_rate("bench-sequence", RUNS))
    record(results, f"fan{how}", bench.measure_rate("bench-fan", 1, items=list(range(ITEMS))))
    record(results, f"latency{how}", bench.measure_latency())
    record(results, f"start{how}", bench.measure_start_seconds())


def compare(results: dict[str, list[float]], bench: Bench, workers: str) -> None:
    record(results, f"steps, {workers}", bench.measure_rate("bench-sequence", RUNS))
    record(results, f"summaries, {workers}", bench.measure_rate("bench-summaries", RUNS, text=TEXT))


def record(results: dict[str, list[float]], name: str, value: float) -> None:
    results.setdefault(name, []).append(value)
    print(f"  {name:<24}{value:>10.4g}", flush=True)


def build_bars(of: dict[str, float]) -> Iterator[Bar]:
    yield Bar("sequence-of-no-op", of["sequence"] / of["no-op"], 0.5)
    yield Bar("fan-out-of-no-op", of["fan"] / of["no-op"], 0.5)
    yield Bar("added-ms-per-step", of["latency"] * 1000, 25, is_maximum=True)
    yield Bar("start-with-100k-waiting", of["start full"] / of["start"], 1.2, is_maximum=True)
    yield Bar("step-with-100k-waiting", of["sequence"] / of["sequence full"], 1.2, is_maximum=True)


if __name__ == "__main__":
    main()
