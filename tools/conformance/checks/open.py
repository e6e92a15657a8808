"""Checks of level "open": guarantees that need neither a login nor another service."""

import re
from uuid import uuid4

import httpx

from ..registry import guarantee
from ..target import Service, describe, expect, expect_problem

HEALTH_FIELDS = {"service", "status", "version", "port", "dependencies", "metrics"}
METRIC_FIELDS = {"uptime_seconds", "active_connections", "memory_usage_mb"}
EXTERNAL_URL = re.compile(r"""["'(](https?:)?//""")
SOURCE = re.compile(r'(?:src|href)="([^"]+)"')


@guarantee("open", "/health has the standard shape")
def check_health(service: Service) -> str:
    response = service.get("/health")
    expect(response.status_code == 200, describe(response))
    body = response.json()
    wrong = sorted(body.keys() ^ HEALTH_FIELDS)
    expect(not wrong, f"fields {wrong} missing or unexpected")
    expect(body["status"] in ("healthy", "degraded"), f"status {body['status']!r}")
    states = set(body["dependencies"].values())
    expect(states <= {"healthy", "unhealthy"}, f"dependencies are {sorted(states)}")
    expect((body["status"] == "healthy") == (states <= {"healthy"}), f"{body['status']}: {states}")
    expect(body["metrics"].keys() >= METRIC_FIELDS, f"metrics are {sorted(body['metrics'])}")
    return f"{body['service']} {body['version']} is {body['status']}"


@guarantee("open", "liveness and readiness answer 200")
def check_probes(service: Service) -> str:
    for path in ("/health/live", "/health/ready"):
        response = service.get(path)
        expect(response.status_code == 200, describe(response))
    return "200 on both probes"


@guarantee("open", "documentation works offline")
def check_documentation(service: Service) -> str:
    for path in ("/docs", "/redoc"):
        page = service.get(path)
        expect(page.status_code == 200, describe(page))
        expect(not EXTERNAL_URL.search(page.text), f"{path} loads files from other hosts")
        for source in SOURCE.findall(page.text):
            expect(service.get(source).status_code == 200, f"{path} lacks {source}")
    return "/docs and /redoc, and all files they load"


@guarantee("open", "OpenAPI describes a versioned API")
def check_openapi(service: Service) -> str:
    version = service.document["openapi"]
    expect(version.startswith("3."), f"version {version}")
    expect(bool(service.operations), "no operations")
    elsewhere = [o.path for o in service.operations if not o.path.startswith("/api/v1/")]
    expect(not elsewhere, f"outside /api/v1: {', '.join(elsewhere)}")
    return f"{len(service.operations)} operations under /api/v1"


@guarantee("open", "401 without a valid token")
def check_unauthenticated(service: Service) -> str:
    protected = [o for o in service.operations if o.is_protected]
    expect(bool(protected), "no operation requires a token")
    for operation in protected:
        for headers in ({}, {"Authorization": f"Bearer {uuid4().hex}"}):
            response = service.request(operation.method, operation.url, headers=headers)
            expect_problem(response, 401)
            how = response.headers.get("www-authenticate", "")
            expect(how.startswith("Bearer"), f"{describe(response)} has www-authenticate {how!r}")
    return f"{len(protected)} operations, each without a token and with an invalid one"


@guarantee("open", "404 for an unknown path")
def check_not_found(service: Service) -> str:
    expect_problem(service.get(f"/no/such/route/{uuid4().hex}"), 404)
    return "a random path"


@guarantee("open", "trace ids are accepted and returned")
def check_trace_id(service: Service) -> str:
    given = uuid4().hex
    refused = service.get(f"/{given}", headers={"X-Trace-ID": given})
    expect(get_trace_id(refused) == given, f"sent {given}, got {get_trace_id(refused)}")
    expect(refused.json().get("trace_id") == given, "the id is missing in the body of an error")
    parent = {"traceparent": f"00-{given}-00f067aa0ba902b7-01"}
    taken = get_trace_id(service.get("/health/live", headers=parent))
    expect(taken == given, f"traceparent's {given} came back as {taken}")
    made = {get_trace_id(service.get("/health/live")) for _ in range(2)}
    expect(len(made - {""}) == 2, "requests without an id do not each get a new one")
    forged = get_trace_id(service.get("/health/live", headers={"X-Trace-ID": 'a"b <c>'}))
    expect("<" not in forged, "an invalid id is returned unchanged")
    return "X-Trace-ID and traceparent accepted, an id created without them"


def get_trace_id(response: httpx.Response) -> str:
    return str(response.headers.get("x-trace-id", ""))


@guarantee("open", "CORS allows configured origins only")
def check_cross_origin(service: Service) -> str:
    ours = service.options.origin
    allowed = get_allowed_origins(service, ours)
    expect(allowed == {ours}, f"{ours} gets {sorted(allowed)}")
    for other in ("http://evil.example", f"{ours}.evil.example", "null"):
        allowed = get_allowed_origins(service, other)
        expect(allowed == {""}, f"{other} gets {sorted(allowed)}")
    return f"only {ours}"


def get_allowed_origins(service: Service, origin: str) -> set[str]:
    """Return the origins that preflight and request allow; "" stands for a missing header."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    preflight = service.request("OPTIONS", "/health/live", headers=asked)
    answers = [preflight, service.get("/health/live", headers={"Origin": origin})]
    return {answer.headers.get("access-control-allow-origin", "") for answer in answers}
