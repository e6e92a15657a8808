"""Calls to URLs that users choose, which never reach our own network."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep
from typing import Any

import anyio
import pytest

from chassis.service_client import run_from_thread
from chassis.tracing import trace_context
from chassis.untrusted_http import (
    ForbiddenTarget,
    NoResponse,
    UntrustedHttpClient,
    UntrustedResponse,
    is_public,
    resolve_host,
)

Make = Callable[..., UntrustedHttpClient]


class Sink(BaseHTTPRequestHandler):
    """Answers as its path says, and records the Host header."""

    protocol_version = "HTTP/1.1"
    hosts: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.hosts.append(self.headers["Host"])
        said = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(30):
                self.wfile.write(b".")
                self.wfile.flush()
                sleep(0.1)
            return
        moved = self.path == "/moved"
        content = b"x" * 1_000_000 if self.path == "/long" else said
        self.send_response(302 if moved else 200)
        if moved:
            self.send_header("Location", "http://127.0.0.1/inside")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client reads only the beginning of a long response
            super().handle()


@pytest.fixture
def sink() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    server.daemon_threads = True
    Sink.hosts.clear()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def outbound() -> Iterator[Make]:
    made: list[UntrustedHttpClient] = []

    def make(*allow_hosts: str, **options: Any) -> UntrustedHttpClient:
        made.append(UntrustedHttpClient(allow_hosts, **options))
        return made[-1]

    yield make
    for one in made:
        run_from_thread(one.aclose)


def post(outbound: UntrustedHttpClient, url: str, content: bytes = b"{}") -> UntrustedResponse:
    return outbound.request_from_thread(
        "POST", url, headers={"Content-Type": "text/plain"}, content=content
    )


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "localhost", "[::1]", "[::]",
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "168.63.129.16",
        "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:8.8.8.8]", "[::10.0.0.1]",
        "[fe80::1]", "[fd00:ec2::254]", "[fec0::1]", "[64:ff9b::a00:1]", "[2002:a00:1::]",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "[2001:db8::1]", "[ff02::1]",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_when_checked_and_when_called(
    host: str, outbound: Make
) -> None:
    guarded = outbound()
    url = f"http://{host}:9/hook"

    with pytest.raises(ForbiddenTarget, match="not public"):
        anyio.run(guarded.check_url, url)
    with pytest.raises(ForbiddenTarget, match="not public"):
        post(guarded, url)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "", "nonsense", "ftp://example.com", "file:///etc/passwd", "http://", "http:///path",
        "//example.com", "http://me:secret@example.com", "http://example.com/#part",
        "http://example.com:99999", "http://exa mple.com", "http://[::1", "gopher://example.com",
        "http://example.com:0",
    ],
)  # fmt: skip
def test_a_url_that_is_not_plain_http_is_refused(url: str, outbound: Make) -> None:
    with pytest.raises(ForbiddenTarget) as refused:
        anyio.run(outbound().check_url, url)

    assert refused.value.errors[0]["field"] == "url"


def test_a_host_that_is_allowed_by_name_is_called(sink: str, outbound: Make) -> None:
    answer = post(outbound("127.0.0.1"), sink, b"hello")

    assert (answer.status, answer.content) == (200, b"hello")


def test_a_host_is_checked_again_at_each_call(outbound: Make) -> None:
    answers = iter([["93.184.216.34"], ["93.184.216.34", "127.0.0.1"]])

    async def rebinding(host: str) -> list[str]:
        return next(answers)

    guarded = outbound(resolve=rebinding)
    anyio.run(guarded.check_url, "http://rebinding.example.com/")

    with pytest.raises(ForbiddenTarget):
        post(guarded, "http://rebinding.example.com/")


def test_the_connection_goes_to_the_checked_address(sink: str, outbound: Make) -> None:
    asked = []

    async def once(host: str) -> list[str]:
        asked.append(host)
        return ["::1", "127.0.0.1"]  # nothing listens at the first

    guarded = outbound("sink.invalid", resolve=once)

    assert post(guarded, sink.replace("127.0.0.1", "sink.invalid")).status == 200
    assert asked == ["sink.invalid"]


def test_a_redirect_is_returned_and_not_followed(sink: str, outbound: Make) -> None:
    assert post(outbound("127.0.0.1"), f"{sink}/moved").status == 302
    assert len(Sink.hosts) == 1


def test_the_host_header_is_the_name(sink: str, outbound: Make) -> None:
    post(outbound("localhost"), sink.replace("127.0.0.1", "localhost"))

    assert Sink.hosts[0].startswith("localhost:")


def test_only_the_beginning_of_a_long_response_is_read(sink: str, outbound: Make) -> None:
    assert len(post(outbound("127.0.0.1", max_bytes=1000), f"{sink}/long").content) == 1000


def test_a_response_that_takes_too_long_is_given_up(sink: str, outbound: Make) -> None:
    began = monotonic()

    with pytest.raises(NoResponse, match="in time"):
        post(outbound("127.0.0.1", timeout=0.5), f"{sink}/drip")
    assert monotonic() - began < 2


def test_the_deadline_of_the_caller_limits_the_wait(sink: str, outbound: Make) -> None:
    began = monotonic()

    with trace_context(seconds=0.5), pytest.raises(NoResponse, match="in time"):
        post(outbound("127.0.0.1"), f"{sink}/drip")
    assert monotonic() - began < 2


async def test_names_are_resolved_although_all_other_threads_are_busy() -> None:
    release = threading.Event()
    loop = asyncio.get_running_loop()
    taken = [loop.run_in_executor(None, release.wait, 10) for _ in range(40)]

    async with asyncio.timeout(5):
        assert await resolve_host("127.0.0.1") == {"127.0.0.1": None}

    release.set()
    await asyncio.gather(*taken)


def test_a_closed_port_is_no_response(outbound: Make) -> None:
    with pytest.raises(NoResponse):
        post(outbound("127.0.0.1"), "http://127.0.0.1:1/")
    with pytest.raises(NoResponse):
        post(outbound(), "http://no-such-name.invalid/")
    anyio.run(outbound().check_url, "http://no-such-name.invalid/")  # may get an address later
