"""What happens while identity is away: looked at once, and judged by several promises."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from uuid import uuid4

import httpx

from ..registry import guarantee
from ..target import NotApplicable, Person, Service, describe, expect, expect_problem

MAX_BRIDGED_SECONDS = (
    12.0  # seconds for which known tokens go on: the staleness bound and some calls
)
MAX_REPORT_SECONDS = 3.0  # seconds that a report of health may be kept
MAX_RECOVERY_SECONDS = 30.0  # seconds from identity's return until people are let in again


@dataclass(frozen=True)
class Outage:
    """What was seen. `trusted` and `returning` are in seconds."""

    stranger: httpx.Response
    trusted: float
    refusal: httpx.Response
    live: httpx.Response
    health: httpx.Response
    returning: float
    returned: httpx.Response


@cache
def observe_outage(service: Service) -> Outage:
    if service.is_identity:
        raise NotApplicable("this is identity itself")
    path, person = service.readable_path, service.caller
    service.stop_identity()
    try:
        stranger = service.get(path, Person("", uuid4().hex))
        trusted, refusal = poll_until(
            service, path, person, lambda now: not is_fine(now), MAX_BRIDGED_SECONDS
        )
        live = service.get("/health/live")
        _, health = poll_until(service, "/health", None, is_degraded, MAX_REPORT_SECONDS)
    finally:
        service.start_identity()
    returning, returned = poll_until(service, path, person, is_fine, MAX_RECOVERY_SECONDS)
    return Outage(stranger, trusted, refusal, live, health, returning, returned)


def poll_until(
    service: Service,
    path: str,
    person: Person | None,
    holds: Callable[[httpx.Response], bool],
    most: float,
) -> tuple[float, httpx.Response]:
    """The first answer that is such, or the last one, and after how many seconds it came."""
    started = time.monotonic()
    while True:
        answer, seconds = service.get(path, person), time.monotonic() - started
        if holds(answer) or seconds > most:
            return seconds, answer
        time.sleep(0.1)


def is_fine(answer: httpx.Response) -> bool:
    return answer.status_code == 200


def is_degraded(answer: httpx.Response) -> bool:
    return is_fine(answer) and answer.json().get("status") == "degraded"


@guarantee("outage", "503, not 401, for a token nobody can look at")
def check_unavailable(service: Service) -> str:
    answer = observe_outage(service).stranger
    expect_problem(answer, 503)
    expect("retry-after" in answer.headers, "503 without Retry-After")
    return f"503 with Retry-After {answer.headers['retry-after']}"


@guarantee("outage", "known people go on for a while, then 503")
def check_bridging(service: Service) -> str:
    found = observe_outage(service)
    expect_problem(found.refusal, 503)
    return f"let in for {found.trusted:.1f} s, then 503"


@guarantee("outage", "it says that identity is away, and lives")
def check_report(service: Service) -> str:
    found = observe_outage(service)
    expect(found.live.status_code == 200, describe(found.live))
    expect(found.health.status_code == 200, describe(found.health))
    body = found.health.json()
    state = body["dependencies"].get("identity-service")
    expect(state == "unhealthy", f"/health says that identity-service is {state}")
    expect(body["status"] == "degraded", f"/health says {body['status']}")
    return "degraded, for identity-service is unhealthy"


@guarantee("outage", "people are let in again when it is back")
def check_recovery(service: Service) -> str:
    found = observe_outage(service)
    expect(
        found.returned.status_code == 200,
        f"{describe(found.returned)} {MAX_RECOVERY_SECONDS:.0f} s later",
    )
    return f"{found.returning:.1f} s after its return"
