"""Prometheus metrics, the request log, and the last catch for failures nobody expected."""

import logging
from time import perf_counter

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import problem

logger = logging.getLogger("chassis.requests")

REQUESTS = Counter("http_requests_total", "Requests answered.", ["method", "route", "status"])
DURATION = Histogram("http_request_duration_seconds", "Time to answer.", ["method", "route"])
CIRCUIT_STATE = Gauge("circuit_state", "1 while calls to the peer are refused.", ["peer"])

QUIET = ("/health", "/metrics")  # polled every few seconds: counted, not logged

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class ObserveMiddleware:
    """Counts, times and logs each request; a failure nobody caught becomes a bare 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        state = scope["app"].state
        status = 0
        replaced = False

        async def watched(message: Message) -> None:
            nonlocal status, replaced
            if message["type"] == "http.response.start":
                status = message["status"]
                # Starlette's body limit answers in plain text, from below every handler.
                replaced = (
                    status == 413
                    and (b"content-type", b"application/problem+json") not in message["headers"]
                )
                if replaced:
                    return await too_large(scope, receive, send)
            if not replaced:
                await send(message)

        started = perf_counter()
        state.active_connections += 1
        try:
            await self.app(scope, receive, watched)
        except Exception:
            logger.exception("unhandled error")
            if status:
                raise
            status = 500
            await internal_error(scope, receive, send)
        finally:
            state.active_connections -= 1
            record(scope, status, perf_counter() - started)


async def too_large(scope: Scope, receive: Receive, send: Send) -> None:
    detail = "The request's body is larger than this endpoint takes"
    await problem(413, detail, code="PayloadTooLarge", instance=scope["path"])(scope, receive, send)


async def internal_error(scope: Scope, receive: Receive, send: Send) -> None:
    detail = "Something went wrong here; the trace id leads to the log"
    await problem(500, detail, code="InternalError", instance=scope["path"])(scope, receive, send)


def record(scope: Scope, status: int, seconds: float) -> None:
    method, path = scope["method"], scope["path"]
    route = getattr(scope.get("route"), "path", "unmatched")
    REQUESTS.labels(method, route, status).inc()
    DURATION.labels(method, route).observe(seconds)
    if not path.startswith(QUIET) and logger.isEnabledFor(logging.INFO):
        logger.info("%s %s %d %.1fms", method, path, status, seconds * 1000)
