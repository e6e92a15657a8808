"""Observes each request: trace id, metrics, log line, and the handler of unexpected errors."""

import logging
from functools import lru_cache
from time import perf_counter

from fastapi import Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import PayloadTooLarge, ServiceError, render_problem
from .routing import APIRouter
from .tracing import parse_timeout, parse_trace_id, trace_context

logger = logging.getLogger("chassis.requests")

REQUESTS = Counter("http_requests_total", "Requests answered.", ["method", "route", "status"])
DURATION = Histogram("http_request_duration_seconds", "Time to answer.", ["method", "route"])
CIRCUIT_STATE = Gauge("circuit_state", "1 while calls to the peer are paused.", ["peer"])

UNLOGGED_PATHS = ("/health", "/metrics")  # polled every few seconds: not logged
PROBLEM_HEADER = (b"content-type", b"application/problem+json")

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
async def get_metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class ObserveMiddleware:
    """Traces, counts, times and logs each request; an unexpected error becomes a plain 500.

    One middleware does it all, because each layer costs as much as what it does.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])  # faster than one search for each of them
        with trace_context(parse_trace_id(headers), parse_timeout(headers)) as identifier:
            await self.observe(scope, receive, send, (b"x-trace-id", identifier.encode()))

    async def observe(
        self, scope: Scope, receive: Receive, send: Send, trace_header: tuple[bytes, bytes]
    ) -> None:
        status = 0
        replaced = False

        async def send_traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append(trace_header)
            await send(message)

        async def watch_and_send(message: Message) -> None:
            nonlocal status, replaced
            if message["type"] == "http.response.start":
                status = message["status"]
                # Starlette's body limit answers in plain text and bypasses every error handler.
                replaced = status == 413 and PROBLEM_HEADER not in message["headers"]
                if replaced:
                    error = PayloadTooLarge("The body is larger than this endpoint accepts")
                    return await render_problem(scope["path"], error)(scope, receive, send_traced)
            if not replaced:
                await send_traced(message)

        state = scope["app"].state
        started = perf_counter()
        state.active_connections += 1
        try:
            await self.app(scope, receive, watch_and_send)
        except Exception:
            logger.exception("unhandled error")
            if status:
                raise  # the response has begun: it can only be cut off
            status = 500
            error = ServiceError("An unexpected error occurred; find it in the log by its trace id")
            await render_problem(scope["path"], error)(scope, receive, send_traced)
        finally:
            state.active_connections -= 1
            record_request(scope, status, perf_counter() - started)


@lru_cache(maxsize=1024)  # prometheus_client would take a lock for each look-up
def get_metric_children(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), DURATION.labels(method, route)


def record_request(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"]
    context = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    route = getattr(context, "path", "unmatched")
    count, duration = get_metric_children(method, route, status)
    count.inc()
    duration.observe(seconds)
    if not scope["path"].startswith(UNLOGGED_PATHS):
        # Not the path: some paths hold a secret.
        logger.info("%s %s %d %.1fms", method, route, status, seconds * 1000)
