"""A load generator for one core: keep-alive connections that send one request at a time.

It uses bare asyncio protocols, because an HTTP client library is slower than the measured servers.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import uvloop

Next = Callable[[bytes], bytes]  # builds a request from the previous response's body, b"" at first
Body = bytes | None  # None: the request is a GET


@dataclass(frozen=True)
class Result:
    """Holds the measurements of one run; latencies are in seconds, sorted."""

    latencies: list[float]
    seconds: float
    failures: int

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def get_percentile(self, percent: float) -> float:
        count = len(self.latencies)
        return self.latencies[min(count - 1, int(count * percent / 100))]


class Connection(asyncio.Protocol):
    """Sends its next request when a response is complete, until the time is up."""

    def __init__(self, request: Next, until: float) -> None:
        self.request = request
        self.until = until
        self.latencies: list[float] = []
        self.failures = 0
        self.buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._send(b"")

    def _send(self, answer: bytes) -> None:
        request = self.request(answer)
        self.sent_at = perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < get_content_length(head):
            return
        self.buffer = b""
        now = perf_counter()
        self.latencies.append(now - self.sent_at)
        self.failures += not head.startswith(b"HTTP/1.1 20")
        if now < self.until:
            self._send(body)
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def get_content_length(head: bytes) -> int:
    start = head.lower().index(b"content-length:") + len(b"content-length:")
    return int(head[start:].split(b"\r\n", 1)[0])


def build_request(url: str, headers: Mapping[str, str], body: Body) -> bytes:
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


async def _load(url: str, requests: Sequence[Next], seconds: float) -> Result:
    host = str(urlsplit(url).hostname)
    port = urlsplit(url).port or 80
    loop = asyncio.get_running_loop()
    started = perf_counter()
    builders = [partial(Connection, request, started + seconds) for request in requests]
    clients = [(await loop.create_connection(build, host, port))[1] for build in builders]
    await asyncio.gather(*(client.done for client in clients))
    elapsed = perf_counter() - started
    latencies = sorted(latency for client in clients for latency in client.latencies)
    return Result(latencies, elapsed, sum(client.failures for client in clients))


def run_load(
    url: str, headers: dict[str, str], *, seconds: float, connections: int = 32, body: Body = None
) -> Result:
    """Send GETs, or POSTs of a JSON body, for `seconds` over `connections`."""
    request = build_request(url, headers, body)
    return uvloop.run(_load(url, [lambda _: request] * connections, seconds))


def run_conversations(url: str, bodies: Sequence[Next], *, seconds: float) -> Result:
    """Send POSTs whose bodies depend on the previous response, one connection per function."""
    requests = [lambda answer, body=body: build_request(url, {}, body(answer)) for body in bodies]
    return uvloop.run(_load(url, requests, seconds))
