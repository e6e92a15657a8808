"""One trace id per piece of work, from the edge through every service and Celery task."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TRACE_HEADER = "X-Trace-ID"
TIMEOUT_HEADER = "X-Timeout-Ms"  # how many milliseconds the caller will still wait

WELL_FORMED = re.compile(r"[A-Za-z0-9_-]{8,64}")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

# The trace id and the deadline of the work at hand.
_work: ContextVar[tuple[str | None, float]] = ContextVar("work", default=(None, inf))


def trace_id() -> str | None:
    """The id of the work at hand; None outside any."""
    return _work.get()[0]


def seconds_left() -> float:
    """How long the caller of the work at hand will still wait; infinity when it did not say."""
    return _work.get()[1] - monotonic()


@contextmanager
def traced(identifier: str | None = None, seconds: float = inf) -> Iterator[str]:
    """Work under the trace id of what caused it; without an id, it begins a trace of its own."""
    identifier = identifier or uuid.uuid4().hex
    token = _work.set((identifier, monotonic() + seconds))
    try:
        yield identifier
    finally:
        _work.reset(token)


def outgoing_headers() -> dict[str, str]:
    """What a call to a neighbour carries, so that both sides log the same id."""
    identifier = trace_id() or uuid.uuid4().hex
    trace = identifier.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{32}", trace):
        return {TRACE_HEADER: identifier}
    parent = f"00-{trace}-{uuid.uuid4().hex[:16]}-01"
    return {TRACE_HEADER: identifier, "traceparent": parent}


def incoming_trace_id(headers: Headers) -> str:
    """The caller's id: X-Trace-ID, its alias X-Request-ID, or traceparent's; else a new one."""
    for name in (TRACE_HEADER, "X-Request-ID"):
        if WELL_FORMED.fullmatch(given := headers.get(name, "")):
            return given
    match = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    return match.group(1) if match else uuid.uuid4().hex


class TraceMiddleware:
    """Takes the trace id and the deadline of a request from its headers and returns the id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        timeout = headers.get(TIMEOUT_HEADER, "")
        seconds = int(timeout[:9]) / 1000 if timeout.isdecimal() else inf
        with traced(incoming_trace_id(headers), seconds) as identifier:

            async def send_with_id(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message)[TRACE_HEADER] = identifier
                await send(message)

            await self.app(scope, receive, send_with_id)
