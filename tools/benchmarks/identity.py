"""What identity does in a second, as shares of what it cannot do without: a row read, a hash.

Validation is compared with an endpoint that reads one row and no more, logins with the hashes that
one core computes, and validation while people log in with validation while nobody does. The cases
take turns; the medians count. Identity has one core, all others share the other; only for logins it
may use both, since the question is whether the one thread that hashes ever waits for the rest.
"""

import json
import os
import statistics
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter, sleep

import httpx
from argon2 import PasswordHasher

from tools.benchmarks.harness.bars import Bar, report
from tools.benchmarks.harness.load import Next, Result, converse, load
from tools.benchmarks.harness.stack import BOTH_CORES, MEASURED_CORE, measured_server, running_stack

ROUNDS = 7
SECONDS = 1.5
LONG = 5  # for logins alone: their queue fills and empties once in each run, which is not the rate
LOGINS_AT_ONCE, REFRESHES_AT_ONCE = 8, 16
PEOPLE = 129  # so many that nobody has twenty sessions, of which the next login would end one
PASSWORD = "a-long-bench-password"
# A request log costs every case the same, and so would only hide the differences.
IDENTITY = "identity_service.main:app"
OVERRIDES = {"LOG_LEVEL": "WARNING"}
NICE = 8  # as in identity_service/crypto/passwords.py
OWASP_MINIMUM = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

Results = dict[str, list[Result]]


@dataclass
class Rotation:
    """Goes on with the refresh token of the answer before."""

    token: str

    def __call__(self, answer: bytes) -> bytes:
        self.token = json.loads(answer)["refresh_token"] if answer else self.token
        return json.dumps({"refresh_token": self.token}).encode()


def in_turn(people: list[dict[str, str]]) -> Next:
    """Whoever logs in next, whatever the answer to the one before."""
    following = cycle(people)
    return lambda answer: json.dumps(next(following)).encode()


@dataclass
class People:
    """Those who log in, one after the other."""

    auth: str
    client: httpx.Client

    def __post_init__(self) -> None:
        self.credentials = [
            {"email": f"bench-{number}@example.com", "password": PASSWORD}
            for number in range(PEOPLE)
        ]
        for person in self.credentials:
            new = {**person, "name": "Bench"}
            self.client.post(f"{self.auth}/register", json=new).raise_for_status()

    def log_in(self, number: int) -> dict[str, str]:
        answer = self.client.post(f"{self.auth}/login", json=self.credentials[number])
        tokens: dict[str, str] = answer.raise_for_status().json()
        return tokens


def main() -> None:
    with (
        running_stack(OVERRIDES) as stack,
        measured_server(stack, "identity", IDENTITY) as identity,
        measured_server(stack, "identity", IDENTITY, cores=BOTH_CORES) as roomy,
        measured_server(stack, "identity", "tools.benchmarks.identity_server:app") as bare,
        httpx.Client() as client,
    ):
        people = People(f"{identity}/api/v1/auth", client)
        results, hashes = measure(cases(people, roomy, bare))
    show(results, hashes)
    report(list(bars(results, hashes)))


def cases(people: People, roomy: str, bare: str) -> dict[str, Callable[[], Result]]:
    tokens = people.log_in(-1)  # who never logs in again: the oldest sessions end then
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}

    def validate() -> Result:
        return load(f"{people.auth}/validate", bearer, seconds=SECONDS, body=b"")

    def log_in(url: str, seconds: float) -> Result:
        bodies = [in_turn(people.credentials[n:-1:LOGINS_AT_ONCE]) for n in range(LOGINS_AT_ONCE)]
        return converse(f"{url}/login", bodies, seconds=seconds)

    def refresh() -> Result:
        rotations = [Rotation(people.log_in(n)["refresh_token"]) for n in range(REFRESHES_AT_ONCE)]
        return converse(f"{people.auth}/refresh", rotations, seconds=SECONDS)

    def validate_while_people_log_in() -> Result:
        with ThreadPoolExecutor(1) as beside:
            logins = beside.submit(log_in, people.auth, SECONDS + 0.5)
            sleep(0.25)
            result = validate()
            assert not logins.result().failures
            return result

    return {
        "row": lambda: load(f"{bare}/row/{tokens['user_id']}", {}, seconds=SECONDS),
        "validate": validate,
        "validate, 8 logins": validate_while_people_log_in,
        "refresh": refresh,
        "login": lambda: log_in(f"{roomy}/api/v1/auth", LONG),
    }


def measure(cases: dict[str, Callable[[], Result]]) -> tuple[Results, float]:
    """The results of every round, and how many hashes a second one core computes."""
    results: Results = defaultdict(list)
    hashes = []
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", flush=True)
        for name, case in cases.items():
            results[name].append(result := case())
            if result.failures:
                sys.exit(f"{name}: {result.failures} requests failed")
        hashes.append(hashes_per_second())
    return results, statistics.median(hashes)


def hashes_per_second() -> float:
    """Of the measured core, in a thread of the priority that the service's has."""
    with ThreadPoolExecutor(1, initializer=step_aside) as hashing:
        return hashing.submit(hash_and_hash).result()


def step_aside() -> None:
    os.sched_setaffinity(0, {MEASURED_CORE})  # this thread's
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def hash_and_hash() -> float:
    started, count = perf_counter(), 0
    while perf_counter() - started < SECONDS:
        OWASP_MINIMUM.hash(PASSWORD)
        count += 1
    return count / (perf_counter() - started)


def rate(results: list[Result]) -> float:
    return statistics.median(result.per_second for result in results)


def latency(results: list[Result], percent: float) -> float:
    return statistics.median(result.percentile(percent) for result in results)


def show(results: Results, hashes: float) -> None:
    print(f"\n{'case':<20}{'per second':>12}{'p50 ms':>9}{'p99 ms':>9}")
    for name, runs in results.items():
        p50, p99 = latency(runs, 50) * 1000, latency(runs, 99) * 1000
        print(f"{name:<20}{rate(runs):>12.0f}{p50:>9.1f}{p99:>9.1f}")
    print(f"{'hash':<20}{hashes:>12.1f}\n")


def bars(results: Results, hashes: float) -> Iterator[Bar]:
    row, quiet, busy = (results[n] for n in ("row", "validate", "validate, 8 logins"))
    yield Bar("validate-of-row", rate(quiet) / rate(row), 0.60)
    yield Bar("login-of-hash", rate(results["login"]) / hashes, 0.90)
    yield Bar("validate-while-logins", rate(busy) / rate(quiet), 0.70)
    yield Bar("validate-p99-while-logins", latency(busy, 99) / latency(quiet, 99), 3, most=True)


if __name__ == "__main__":
    main()
