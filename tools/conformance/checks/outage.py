"""Checks of level "outage": identity is stopped once, and several guarantees use what was seen."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from uuid import uuid4

import httpx

from ..registry import guarantee
from ..target import NotApplicable, Person, Service, describe, expect, expect_problem

MAX_BRIDGED_SECONDS = 12.0  # known tokens may work this long: the staleness bound and some calls
MAX_REPORT_SECONDS = 3.0  # a health report may be cached this long

Condition = Callable[[httpx.Response], bool]


@dataclass(frozen=True)
class Outage:
    """Holds the responses during and after one outage; `bridged` and `recovery` are in seconds."""

    unknown_token: httpx.Response
    bridged: float
    refusal: httpx.Response
    live: httpx.Response
    health: httpx.Response
    recovery: float
    recovered: httpx.Response


@cache
def observe_outage(service: Service) -> Outage:
    if service.is_identity:
        raise NotApplicable("this is identity itself")
    path = service.readable_path
    person = service.caller
    service.stop_identity()
    try:
        unknown_token = service.get(path, Person("", uuid4().hex))
        bridged, refusal = poll_until(
            service, path, person, lambda response: not is_ok(response), MAX_BRIDGED_SECONDS
        )
        live = service.get("/health/live")
        _, health = poll_until(service, "/health", None, is_degraded, MAX_REPORT_SECONDS)
    finally:
        service.start_identity()
    limit = service.options.max_recovery_seconds
    recovery, recovered = poll_until(service, path, person, is_ok, limit)
    return Outage(unknown_token, bridged, refusal, live, health, recovery, recovered)


def poll_until(
    service: Service, path: str, person: Person | None, holds: Condition, max_seconds: float
) -> tuple[float, httpx.Response]:
    """Return the first response that holds, or the last one, and the seconds it took."""
    started = time.monotonic()
    while True:
        response = service.get(path, person)
        seconds = time.monotonic() - started
        if holds(response) or seconds > max_seconds:
            return seconds, response
        time.sleep(0.1)


def is_ok(response: httpx.Response) -> bool:
    return response.status_code == 200


def is_degraded(response: httpx.Response) -> bool:
    return is_ok(response) and response.json().get("status") == "degraded"


@guarantee("outage", "503, not 401, for a token that cannot be checked")
def check_unavailable(service: Service) -> str:
    response = observe_outage(service).unknown_token
    expect_problem(response, 503)
    expect("retry-after" in response.headers, "503 without Retry-After")
    return f"503 with Retry-After {response.headers['retry-after']}"


@guarantee("outage", "known tokens work for a while, then 503")
def check_bridging(service: Service) -> str:
    found = observe_outage(service)
    expect_problem(found.refusal, 503)
    return f"accepted for {found.bridged:.1f} s, then 503"


@guarantee("outage", "health reports the outage; the service stays live")
def check_report(service: Service) -> str:
    found = observe_outage(service)
    expect(found.live.status_code == 200, describe(found.live))
    expect(found.health.status_code == 200, describe(found.health))
    body = found.health.json()
    state = body["dependencies"].get("identity-service")
    expect(state == "unhealthy", f"/health reports identity-service as {state}")
    expect(body["status"] == "degraded", f"/health reports {body['status']}")
    return "degraded, because identity-service is unhealthy"


@guarantee("outage", "requests succeed again after the outage")
def check_recovery(service: Service) -> str:
    found = observe_outage(service)
    later = f"{service.options.max_recovery_seconds:.0f} s later"
    expect(is_ok(found.recovered), f"{describe(found.recovered)} {later}")
    return f"{found.recovery:.1f} s after identity is back"
