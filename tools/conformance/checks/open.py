"""What a stranger sees: promises that need neither a login nor a neighbour."""

import re
from uuid import uuid4

import httpx

from ..registry import promise
from ..target import Service, expect, expect_problem, seen

HEALTH = {"service", "status", "version", "port", "dependencies", "metrics"}
METRICS = {"uptime_seconds", "active_connections", "memory_usage_mb"}
FOREIGN = re.compile(r"""["'(](https?:)?//""")
SOURCE = re.compile(r'(?:src|href)="([^"]+)"')


@promise("open", "/health has the standard shape")
def health_shape(service: Service) -> str:
    response = service.get("/health")
    expect(response.status_code == 200, seen(response))
    body = response.json()
    expect(body.keys() == HEALTH, f"fields {sorted(body.keys() ^ HEALTH)} missing or too many")
    expect(body["status"] in ("healthy", "degraded"), f"status {body['status']!r}")
    states = set(body["dependencies"].values())
    expect(states <= {"healthy", "unhealthy"}, f"dependencies are {sorted(states)}")
    expect((body["status"] == "healthy") == (states <= {"healthy"}), f"{body['status']}: {states}")
    expect(body["metrics"].keys() >= METRICS, f"metrics are {sorted(body['metrics'])}")
    return f"{body['service']} {body['version']} is {body['status']}"


@promise("open", "it is live and ready")
def live_and_ready(service: Service) -> str:
    for path in ("/health/live", "/health/ready"):
        response = service.get(path)
        expect(response.status_code == 200, seen(response))
    return "200 on both probes"


@promise("open", "documentation that needs no internet")
def documentation(service: Service) -> str:
    for path in ("/docs", "/redoc"):
        page = service.get(path)
        expect(page.status_code == 200, seen(page))
        expect(not FOREIGN.search(page.text), f"{path} loads from elsewhere")
        for source in SOURCE.findall(page.text):
            expect(service.get(source).status_code == 200, f"{path} lacks {source}")
    return "/docs and /redoc with all they load"


@promise("open", "OpenAPI describes a versioned API")
def openapi(service: Service) -> str:
    version = service.document["openapi"]
    expect(version.startswith("3."), f"version {version}")
    expect(bool(service.operations), "no operations")
    elsewhere = [o.path for o in service.operations if not o.path.startswith("/api/v1/")]
    expect(not elsewhere, f"outside /api/v1: {', '.join(elsewhere)}")
    return f"{len(service.operations)} operations under /api/v1"


@promise("open", "401 without a valid token")
def unauthenticated(service: Service) -> str:
    protected = [o for o in service.operations if o.is_protected]
    expect(bool(protected), "no operation asks for a token")
    for operation in protected:
        for headers in ({}, {"Authorization": f"Bearer {uuid4().hex}"}):
            response = service.ask(operation.method, operation.url, headers=headers)
            expect_problem(response, 401)
            asked = response.headers.get("www-authenticate", "")
            expect(asked.startswith("Bearer"), f"{seen(response)} asks for {asked!r}")
    return f"{len(protected)} operations, each without a token and with nonsense"


@promise("open", "404 for what is not there")
def not_found(service: Service) -> str:
    path = f"/no/such/route/{uuid4().hex}"
    expect_problem(service.get(path), 404)
    return "a path that is none"


@promise("open", "a trace id comes in and goes out")
def trace_id(service: Service) -> str:
    given = uuid4().hex
    refused = service.get(f"/{given}", headers={"X-Trace-ID": given})
    expect(returned(refused) == given, f"sent {given}, got {returned(refused)}")
    expect(refused.json().get("trace_id") == given, "it is not in the body of an error")
    parent = {"traceparent": f"00-{given}-00f067aa0ba902b7-01"}
    taken = returned(service.get("/health/live", headers=parent))
    expect(taken == given, f"traceparent's {given} came back as {taken}")
    made = {returned(service.get("/health/live")) for _ in range(2)}
    expect(len(made - {""}) == 2, "without one, no new id is made for each request")
    forged = returned(service.get("/health/live", headers={"X-Trace-ID": 'a"b <c>'}))
    expect("<" not in forged, "an id that is no id is taken as it is")
    return "X-Trace-ID and traceparent taken, one made where there is none"


def returned(response: httpx.Response) -> str:
    return str(response.headers.get("x-trace-id", ""))


@promise("open", "CORS for named origins only")
def cross_origin(service: Service) -> str:
    ours = service.question.origin
    allowed = allowed_for(service, ours)
    expect(allowed == {ours}, f"{ours} is answered with {sorted(allowed)}")
    for other in ("http://evil.example", f"{ours}.evil.example", "null"):
        allowed = allowed_for(service, other)
        expect(allowed == {""}, f"{other} is answered with {sorted(allowed)}")
    return f"{ours}, and nobody else"


def allowed_for(service: Service, origin: str) -> set[str]:
    """What preflight and request say of an origin; "" is nothing."""
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answers = [
        service.ask("OPTIONS", "/health/live", headers=asked),
        service.get("/health/live", headers={"Origin": origin}),
    ]
    return {answer.headers.get("access-control-allow-origin", "") for answer in answers}
