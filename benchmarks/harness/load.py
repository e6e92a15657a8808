"""A load generator for one core: keep-alive connections that each send one request at a time.

Written on bare asyncio protocols because an HTTP client library is slower than what is measured.
"""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

import uvloop


@dataclass(frozen=True)
class Result:
    """What one run saw. Latencies are in seconds, sorted."""

    latencies: list[float]
    seconds: float
    failures: int

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        return self.latencies[
            min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))
        ]


class Connection(asyncio.Protocol):
    """Sends its request again whenever an answer is complete, until the time is up."""

    def __init__(self, request: bytes, until: float) -> None:
        self.request, self.until = request, until
        self.latencies: list[float] = []
        self.failures = 0
        self.buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self.sent_at = perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < content_length(head):
            return
        self.buffer = b""
        now = perf_counter()
        self.latencies.append(now - self.sent_at)
        self.failures += not head.startswith(b"HTTP/1.1 20")
        if now < self.until:
            self._send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def content_length(head: bytes) -> int:
    start = head.lower().index(b"content-length:") + len(b"content-length:")
    return int(head[start:].split(b"\r\n", 1)[0])


async def _load(
    url: str, headers: dict[str, str], body: bytes | None, seconds: float, connections: int
) -> Result:
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    request = "\r\n".join([*lines, "", ""]).encode() + (body or b"")
    loop = asyncio.get_running_loop()
    started = perf_counter()
    opened = [
        await loop.create_connection(
            lambda: Connection(request, started + seconds), str(parts.hostname), parts.port or 80
        )
        for _ in range(connections)
    ]
    clients = [client for _, client in opened]
    await asyncio.gather(*(client.done for client in clients))
    elapsed = perf_counter() - started
    latencies = sorted(latency for client in clients for latency in client.latencies)
    return Result(latencies, elapsed, sum(client.failures for client in clients))


def load(
    url: str,
    headers: dict[str, str],
    *,
    seconds: float,
    connections: int = 32,
    body: bytes | None = None,
) -> Result:
    """GETs the URL, or POSTs a body of JSON, for so many seconds over so many connections."""
    return uvloop.run(_load(url, headers, body, seconds, connections))
