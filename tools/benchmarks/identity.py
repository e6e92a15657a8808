"""Measures identity's rates against the least they need: one row read, or one password hash.

Validation is also compared with itself during logins. Only for logins identity may use both cores,
because the question is whether its one hashing thread ever waits for anything else.
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

from tools.benchmarks.auth import OVERRIDES
from tools.benchmarks.harness.bars import Bar, get_latency, get_rate, report
from tools.benchmarks.harness.load import Next, Result, run_conversations, run_load
from tools.benchmarks.harness.stack import BOTH_CORES, MEASURED_CORE, run_measured_server, run_stack

ROUNDS = 7
SECONDS = 1.5
LOGIN_SECONDS = 5  # a queue of logins fills and empties once per run, which distorts short ones
CONCURRENT_LOGINS = 8
CONCURRENT_REFRESHES = 16
PEOPLE = 129  # with fewer, a user would reach twenty sessions, and each login would end one
PASSWORD = "a-long-bench-password"
IDENTITY = "identity_service.main:app"
HASH_THREAD_NICENESS = 8  # as in identity_service/crypto/passwords.py
OWASP_MINIMUM = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

Results = dict[str, list[Result]]


@dataclass
class Rotation:
    """Builds each request from the refresh token of the previous answer."""

    token: str

    def __call__(self, answer: bytes) -> bytes:
        self.token = json.loads(answer)["refresh_token"] if answer else self.token
        return json.dumps({"refresh_token": self.token}).encode()


def take_turns(people: list[dict[str, str]]) -> Next:
    """Return a function that builds the login of the next user, and ignores answers."""
    following = cycle(people)
    return lambda answer: json.dumps(next(following)).encode()


@dataclass
class People:
    """Registers the users who log in."""

    auth: str
    client: httpx.Client

    def __post_init__(self) -> None:
        self.credentials = [
            {"email": f"bench-{n}@example.com", "password": PASSWORD} for n in range(PEOPLE)
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
        run_stack(OVERRIDES) as stack,
        run_measured_server(stack, "identity", IDENTITY) as identity,
        run_measured_server(stack, "identity", IDENTITY, cores=BOTH_CORES) as roomy,
        run_measured_server(stack, "identity", "tools.benchmarks.identity_server:app") as bare,
        httpx.Client() as client,
    ):
        people = People(f"{identity}/api/v1/auth", client)
        results, hashes = measure(build_cases(people, roomy, bare))
    print_results(results, hashes)
    report(list(build_bars(results, hashes)))


def build_cases(people: People, roomy: str, bare: str) -> dict[str, Callable[[], Result]]:
    tokens = people.log_in(-1)  # this user never logs in again, because that could end the session
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}

    def validate() -> Result:
        return run_load(f"{people.auth}/validate", bearer, seconds=SECONDS, body=b"")

    def log_in(url: str, seconds: float) -> Result:
        many = CONCURRENT_LOGINS
        bodies = [take_turns(people.credentials[n:-1:many]) for n in range(many)]
        return run_conversations(f"{url}/login", bodies, seconds=seconds)

    def refresh() -> Result:
        logins = map(people.log_in, range(CONCURRENT_REFRESHES))
        rotations = [Rotation(login["refresh_token"]) for login in logins]
        return run_conversations(f"{people.auth}/refresh", rotations, seconds=SECONDS)

    def validate_while_people_log_in() -> Result:
        with ThreadPoolExecutor(1) as beside:
            logins = beside.submit(log_in, people.auth, SECONDS + 0.5)
            sleep(0.25)
            result = validate()
            assert not logins.result().failures
            return result

    return {
        "row": lambda: run_load(f"{bare}/row/{tokens['user_id']}", {}, seconds=SECONDS),
        "validate": validate,
        "validate, 8 logins": validate_while_people_log_in,
        "refresh": refresh,
        "login": lambda: log_in(f"{roomy}/api/v1/auth", LOGIN_SECONDS),
    }


def measure(cases: dict[str, Callable[[], Result]]) -> tuple[Results, float]:
    """Run all rounds; return the results and the hashes per second of one core."""
    results: Results = defaultdict(list)
    hashes = []
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", flush=True)
        for name, case in cases.items():
            results[name].append(result := case())
            if result.failures:
                sys.exit(f"{name}: {result.failures} requests failed")
        hashes.append(measure_hash_rate())
    return results, statistics.median(hashes)


def measure_hash_rate() -> float:
    """Measure hashes per second on the measured core, at the priority of the service's thread."""
    with ThreadPoolExecutor(1, initializer=lower_thread_priority) as hashing:
        return hashing.submit(count_hashes).result()


def lower_thread_priority() -> None:
    os.sched_setaffinity(0, {MEASURED_CORE})  # applies to this thread
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), HASH_THREAD_NICENESS)


def count_hashes() -> float:
    started = perf_counter()
    count = 0
    while perf_counter() - started < SECONDS:
        OWASP_MINIMUM.hash(PASSWORD)
        count += 1
    return count / (perf_counter() - started)


def print_results(results: Results, hashes: float) -> None:
    print(f"\n{'case':<20}{'per second':>12}{'p50 ms':>9}{'p99 ms':>9}")
    for name, runs in results.items():
        p50 = get_latency(runs, 50)
        p99 = get_latency(runs, 99)
        print(f"{name:<20}{get_rate(runs):>12.0f}{p50:>9.1f}{p99:>9.1f}")
    print(f"{'hash':<20}{hashes:>12.1f}\n")


def build_bars(results: Results, hashes: float) -> Iterator[Bar]:
    row, quiet, busy = (results[n] for n in ("row", "validate", "validate, 8 logins"))
    yield Bar("validate-of-row", get_rate(quiet) / get_rate(row), 0.60)
    yield Bar("login-of-hash", get_rate(results["login"]) / hashes, 0.90)
    yield Bar("validate-while-logins", get_rate(busy) / get_rate(quiet), 0.70)
    slower = get_latency(busy, 99) / get_latency(quiet, 99)
    yield Bar("validate-p99-while-logins", slower, 3, is_maximum=True)


if __name__ == "__main__":
    main()
