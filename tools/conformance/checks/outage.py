"""What happens while identity is away: looked at once, and judged by several promises."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from uuid import uuid4

import httpx

from ..registry import promise
from ..target import NotAsked, Person, Service, expect, expect_problem, seen

LONGEST_TRUST = 12.0  # seconds for which known tokens go on: the staleness bound and some calls
LONGEST_REPORT = 3.0  # seconds that a report of health may be kept
LONGEST_RETURN = 30.0  # seconds from identity's return until people are let in again


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
def outage(service: Service) -> Outage:
    if service.is_identity:
        raise NotAsked("this is identity itself")
    path, person = service.readable, service.caller
    service.take_away()
    try:
        stranger = service.get(path, Person("", uuid4().hex))
        trusted, refusal = until(service, path, person, lambda now: not is_fine(now), LONGEST_TRUST)
        live = service.get("/health/live")
        _, health = until(service, "/health", None, is_degraded, LONGEST_REPORT)
    finally:
        service.bring_back()
    returning, returned = until(service, path, person, is_fine, LONGEST_RETURN)
    return Outage(stranger, trusted, refusal, live, health, returning, returned)


def until(
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


@promise("outage", "503, not 401, for a token nobody can look at")
def unavailable(service: Service) -> str:
    answer = outage(service).stranger
    expect_problem(answer, 503)
    expect("retry-after" in answer.headers, "503 without Retry-After")
    return f"503 with Retry-After {answer.headers['retry-after']}"


@promise("outage", "known people go on for a while, then 503")
def bridged(service: Service) -> str:
    found = outage(service)
    expect_problem(found.refusal, 503)
    return f"let in for {found.trusted:.1f} s, then 503"


@promise("outage", "it says that identity is away, and lives")
def reported(service: Service) -> str:
    found = outage(service)
    expect(found.live.status_code == 200, seen(found.live))
    expect(found.health.status_code == 200, seen(found.health))
    body = found.health.json()
    state = body["dependencies"].get("identity-service")
    expect(state == "unhealthy", f"/health says that identity-service is {state}")
    expect(body["status"] == "degraded", f"/health says {body['status']}")
    return "degraded, for identity-service is unhealthy"


@promise("outage", "people are let in again when it is back")
def recovered(service: Service) -> str:
    found = outage(service)
    expect(
        found.returned.status_code == 200, f"{seen(found.returned)} {LONGEST_RETURN:.0f} s later"
    )
    return f"{found.returning:.1f} s after its return"
