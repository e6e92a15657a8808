"""Measures what authentication costs: none, ours, and the specification's literal pattern.

Two endpoints: one only answers, one reads a document. Cases take turns, so that other load on the
machine affects all of them alike; medians count.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator

import httpx

from tools.benchmarks.harness.bars import Bar, get_latency, get_rate, report
from tools.benchmarks.harness.load import Result, run_load
from tools.benchmarks.harness.stack import run_measured_server, run_stack
from tools.localdev.stack import LocalDevStack

ROUNDS = 7
SECONDS = 1.5
CASES = [(what, how) for what in ("answer", "document") for how in ("none", "ours", "literal")]
# A request log costs every case the same and would only hide the differences.
OVERRIDES = {"LOG_LEVEL": "WARNING"}

Results = dict[tuple[str, str], list[Result]]


def main() -> None:
    with run_stack(OVERRIDES) as stack:
        token, user_id, document_id = prepare(stack)
        os.environ["BENCH_USER_ID"] = user_id
        with run_measured_server(stack, "content", "tools.benchmarks.auth_server:app") as url:
            headers = {"Authorization": f"Bearer {token}"}
            paths = {case: build_path(*case, document_id) for case in CASES}
            for case in CASES:
                run_load(url + paths[case], headers, seconds=0.5)
            results, calls = measure(stack, url, paths, headers)
    print_results(results)
    report(list(build_bars(results, calls)))


def prepare(stack: LocalDevStack) -> tuple[str, str, str]:
    """Register a user with a document; return the token, the user id and the document id."""
    person = {"email": "bench@example.com", "password": "a-long-bench-password"}
    with httpx.Client() as client:
        auth = f"{stack.get_url('identity-service')}/api/v1/auth"
        client.post(f"{auth}/register", json={**person, "name": "Bench"}).raise_for_status()
        login = client.post(f"{auth}/login", json=person).raise_for_status().json()
        created = client.post(
            f"{stack.get_url('content-service')}/api/v1/documents",
            json={"title": "Bench", "body": "On the Analytical Engine. " * 40},
            headers={"Authorization": f"Bearer {login['access_token']}"},
        ).raise_for_status()
        return login["access_token"], login["user_id"], created.json()["id"]


def build_path(what: str, how: str, document_id: str) -> str:
    return f"/bench/{what}/{how}" + (f"/{document_id}" if what == "document" else "")


def measure(
    stack: LocalDevStack, url: str, paths: dict[tuple[str, str], str], headers: dict[str, str]
) -> tuple[Results, int]:
    """Run all rounds; return the results and the number of our calls to identity."""
    results: Results = defaultdict(list)
    calls = 0
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", flush=True)
        for case in CASES:
            before = count_validations(stack)
            result = run_load(url + paths[case], headers, seconds=SECONDS)
            if result.failures:
                sys.exit(f"{case}: {result.failures} requests failed")
            results[case].append(result)
            calls += (count_validations(stack) - before) if case[1] == "ours" else 0
    return results, calls


def count_validations(stack: LocalDevStack) -> int:
    metrics = httpx.get(f"{stack.get_url('identity-service')}/metrics").text
    counted = [line for line in metrics.splitlines() if line.startswith("http_requests_total{")]
    return sum(int(float(line.split()[-1])) for line in counted if "/auth/validate" in line)


def print_results(results: Results) -> None:
    print(f"\n{'endpoint':<10}{'auth':<10}{'req/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'of none':>9}")
    for (what, how), runs in results.items():
        share = get_rate(runs) / get_rate(results[what, "none"])
        p50 = get_latency(runs, 50)
        p99 = get_latency(runs, 99)
        print(f"{what:<10}{how:<10}{get_rate(runs):>8.0f}{p50:>9.1f}{p99:>9.1f}{share:>9.3f}")
    print()


def build_bars(results: Results, calls: int) -> Iterator[Bar]:
    for what, of_none, of_literal in (("answer", 0.70, 150), ("document", 0.90, 30)):
        ours, none, literal = (results[what, how] for how in ("ours", "none", "literal"))
        yield Bar(f"{what}-of-no-auth", get_rate(ours) / get_rate(none), of_none)
        yield Bar(f"{what}-of-literal", get_rate(ours) / get_rate(literal), of_literal)
        spread = get_latency(ours, 99) / get_latency(ours, 50)
        yield Bar(f"{what}-p99-of-p50", spread, 3, is_maximum=True)
    yield Bar("calls-to-identity", calls, 0, is_maximum=True)


if __name__ == "__main__":
    main()
