"""Calls to a neighbour that is well, busy, slow, broken or gone. The network is an argument."""

import io
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from chassis.app import create_app
from chassis.errors import BadGateway, ServiceError, TooManyRequests, Unavailable
from chassis.service_client import ServiceClient, parse_retry_after
from chassis.tracing import get_trace_id, trace_context
from tools.localdev.fake_identity import FakeIdentity

from .toy import toy_settings

Answer = httpx.Response | Exception | Callable[[httpx.Request], Awaitable[httpx.Response]]

WELL = httpx.Response(200, json={"well": True})
KEY = {"Idempotency-Key": "the-key"}


class Neighbour(httpx.AsyncBaseTransport):
    """Gives its answers one after the other, the last one for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [WELL]
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        # As it is now: another attempt sends the same request, with new headers.
        seen = httpx.Request(request.method, request.url, content=request.content)
        seen.headers = request.headers.copy()
        self.requests.append(seen)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, httpx.Response):
            return await answer(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def last(self) -> httpx.Headers:
        return self.requests[-1].headers

    def client(self, target: str = "neighbour", **options: Any) -> ServiceClient:
        return ServiceClient(
            "http://neighbour:8002", "toy-service", target=target, transport=self, **options
        )


def after(seconds: float) -> Answer:
    async def answer(request: httpx.Request) -> httpx.Response:
        await anyio.sleep(seconds)
        return httpx.Response(200)

    return answer


def request(client: ServiceClient, *args: Any, **options: Any) -> Any:
    async def make() -> Any:
        return await client.make_request(*args, **options)

    return anyio.run(make)


def failure(client: ServiceClient, *args: Any, **options: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        request(client, *args, **options)
    return caught.value


# What is sent


def test_a_call_sends_json_and_returns_what_the_neighbour_answers() -> None:
    neighbour = Neighbour(httpx.Response(201, json={"id": 7}))

    answer = request(neighbour.client(), "POST", "/api/v1/documents", {"title": "Grüße"})

    assert answer == {"id": 7}
    assert str(neighbour.requests[0].url) == "http://neighbour:8002/api/v1/documents"
    assert neighbour.last["Content-Type"] == "application/json"
    assert neighbour.requests[0].content == '{"title":"Grüße"}'.encode()


def test_a_get_has_no_body_and_no_content_type() -> None:
    neighbour = Neighbour()

    request(neighbour.client(), "GET", "/documents", params={"limit": 5})

    assert "Content-Type" not in neighbour.last
    assert neighbour.requests[0].url.query == b"limit=5"


def test_a_file_is_sent_as_multipart_whole_at_each_attempt() -> None:
    neighbour = Neighbour(httpx.Response(503), WELL)
    files = {"file": ("a.txt", io.BytesIO(b"content"))}

    request(neighbour.client(), "POST", "/upload", headers=KEY, files=files)

    assert neighbour.last["Content-Type"].startswith("multipart/form-data")
    assert [b"content" in request.content for request in neighbour.requests] == [True, True]


def test_a_call_names_the_calling_service_and_the_trace_id() -> None:
    neighbour = Neighbour()

    with trace_context("4bf92f3577b34da6a3ce929d0e0e4736"):
        request(neighbour.client(), "GET", "/")

    assert neighbour.last["X-Service-Name"] == "toy-service"
    assert neighbour.last["X-Trace-ID"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert neighbour.last["traceparent"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")


def test_attempts_of_one_call_share_a_trace() -> None:
    neighbour = Neighbour(httpx.ConnectError("refused"), WELL)

    request(neighbour.client(), "GET", "/")

    first, second = neighbour.requests
    assert first.headers["X-Trace-ID"] == second.headers["X-Trace-ID"]


@pytest.mark.parametrize("name", ["X-Trace-ID", "x-trace-id", "X-TRACE-ID"])
def test_the_callers_headers_win_whatever_their_case(name: str) -> None:
    neighbour = Neighbour()

    request(neighbour.client(), "GET", "/", headers={name: "given", "x-service-name": "me"})

    assert neighbour.last.get_list("X-Trace-ID") == ["given"]
    assert neighbour.last.get_list("X-Service-Name") == ["me"]


# What comes back


@pytest.mark.parametrize("answer", [httpx.Response(204), httpx.Response(200, content=b"")])
def test_an_answer_without_a_body_is_none(answer: httpx.Response) -> None:
    assert request(Neighbour(answer).client(), "DELETE", "/documents/7") is None


@pytest.mark.parametrize("body", [b"<html>", b"{", b"\xff\xfe"])
def test_an_answer_that_is_not_json_is_502(body: bytes) -> None:
    error = failure(Neighbour(httpx.Response(200, content=body)).client(), "GET", "/")

    assert isinstance(error, BadGateway)
    assert error.target == "neighbour"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 422, 428, 418])
def test_a_4xx_keeps_its_status_and_detail(status: int) -> None:
    neighbour = Neighbour(httpx.Response(status, json={"detail": "Because"}))

    error = failure(neighbour.client(), "GET", "/")

    assert (error.status_code, error.message, error.target) == (status, "Because", "neighbour")
    assert len(neighbour.requests) == 1


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'"text"', b'{"error": 1}'])
def test_a_4xx_without_detail_names_the_neighbour(body: bytes) -> None:
    error = failure(Neighbour(httpx.Response(404, content=body)).client(), "GET", "/")

    assert error.message == "neighbour answered 404"


@pytest.mark.parametrize("status", [500, 501, 301, 307])
def test_a_neighbour_that_fails_is_502_and_not_retried(status: int) -> None:
    neighbour = Neighbour(httpx.Response(status, headers={"Location": "/elsewhere"}))

    error = failure(neighbour.client(), "GET", "/")

    assert error.status_code == 502
    assert len(neighbour.requests) == 1


def test_a_response_that_cannot_be_decoded_is_503() -> None:
    garbled = httpx.DecodingError("not gzip at all")

    assert failure(Neighbour(garbled).client(), "GET", "/").status_code == 503


# Trying again


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "hiccup", [httpx.Response(503), httpx.Response(504), httpx.ReadError("reset")]
)
def test_idempotent_calls_are_retried(method: str, hiccup: Answer) -> None:
    neighbour = Neighbour(hiccup, WELL)

    request(neighbour.client(), method, "/")

    assert len(neighbour.requests) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_other_calls_are_retried_only_with_a_key(method: str) -> None:
    without, with_key = Neighbour(httpx.Response(503), WELL), Neighbour(httpx.Response(503), WELL)

    error = failure(without.client(), method, "/", {})
    request(with_key.client(), method, "/", {}, KEY)

    assert error.status_code == 503
    assert len(without.requests) == 1
    assert [r.headers["Idempotency-Key"] for r in with_key.requests] == ["the-key"] * 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_call_that_never_reached_the_neighbour_is_retried(method: str) -> None:
    neighbour = Neighbour(httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), WELL)

    assert request(neighbour.client(), method, "/") == {"well": True}


def test_three_attempts_are_enough() -> None:
    neighbour = Neighbour(httpx.ConnectError("refused"))

    error = failure(neighbour.client(), "GET", "/")

    assert isinstance(error, Unavailable)
    assert error.message == "neighbour cannot be reached"
    assert len(neighbour.requests) == 3


def test_a_busy_neighbour_gets_the_time_it_requests() -> None:
    busy = httpx.Response(429, headers={"Retry-After": "1"}, json={"detail": "Slowly"})
    neighbour, started = Neighbour(busy, WELL), monotonic()

    assert request(neighbour.client(), "GET", "/") == {"well": True}
    assert 1 <= monotonic() - started < 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_long_retry_after_stops_the_retries(status: int) -> None:
    neighbour = Neighbour(httpx.Response(status, headers={"Retry-After": "30"}))

    error = failure(neighbour.client(), "GET", "/")

    assert error.headers["Retry-After"] == "30"
    assert len(neighbour.requests) == 1


@pytest.mark.parametrize("header", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1.5", "soon"])
def test_a_malformed_retry_after_is_ignored(header: str) -> None:
    neighbour = Neighbour(httpx.Response(429, headers={"Retry-After": header}), WELL)

    assert request(neighbour.client(), "GET", "/") == {"well": True}


# Deadlines


def test_the_neighbour_learns_how_long_we_wait() -> None:
    neighbour = Neighbour()

    request(neighbour.client(), "GET", "/", timeout=2.5)

    assert 2000 < int(neighbour.last["X-Timeout-Ms"]) <= 2500


@pytest.mark.parametrize("answer", [after(5), httpx.ReadError("reset"), httpx.Response(503)])
def test_a_call_ends_with_its_deadline_and_its_own_error(answer: Answer) -> None:
    neighbour, started = Neighbour(answer), monotonic()

    error = failure(neighbour.client(), "GET", "/", timeout=0.2)

    assert monotonic() - started < 0.4
    assert isinstance(error, Unavailable)
    assert "neighbour" in error.message


def test_a_busy_neighbour_is_not_waited_for_beyond_the_deadline() -> None:
    neighbour = Neighbour(httpx.Response(429, headers={"Retry-After": "1"}))
    started = monotonic()

    error = failure(neighbour.client(), "GET", "/", timeout=0.5)

    assert monotonic() - started < 0.4
    assert isinstance(error, TooManyRequests)


class Dripping(httpx.AsyncByteStream):
    """An answer that never ends, one byte at a time."""

    async def __aiter__(self) -> Any:
        while True:
            yield b" "
            await anyio.sleep(0.05)


def test_a_response_that_arrives_byte_by_byte_ends_with_the_deadline() -> None:
    async def drip(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Dripping())

    started = monotonic()

    error = failure(Neighbour(drip).client(), "GET", "/", timeout=0.3)

    assert monotonic() - started < 0.6
    assert error.status_code == 503


def test_the_callers_deadline_is_passed_on() -> None:
    neighbour, app = Neighbour(after(5)), create_app(toy_settings())
    client = neighbour.client()

    @app.get("/")
    async def ask() -> Any:
        return await client.make_request("GET", "/")

    started = monotonic()
    response = TestClient(app).get("/", headers={"X-Timeout-Ms": "300"})

    assert response.status_code == 503
    assert monotonic() - started < 1
    assert int(neighbour.last["X-Timeout-Ms"]) <= 300


# The circuit


def circuit_state(peer: str) -> float | None:
    return REGISTRY.get_sample_value("circuit_state", {"peer": peer})


def test_the_circuit_opens_after_five_failures_and_closes_when_the_neighbour_is_back() -> None:
    neighbour = Neighbour(httpx.Response(500))
    client = neighbour.client("breaks")

    async def story() -> None:
        for _ in range(5):
            with pytest.raises(BadGateway):
                await client.make_request("GET", "/")
        assert circuit_state("breaks") == 1

        started = monotonic()
        with pytest.raises(Unavailable) as refused:
            await client.make_request("GET", "/")
        assert monotonic() - started < 0.05
        assert refused.value.headers["Retry-After"] == "2"
        assert len(neighbour.requests) == 5

        neighbour.answers = [WELL]
        await anyio.sleep(2.1)
        assert await client.make_request("GET", "/") == {"well": True}
        assert circuit_state("breaks") == 0

    anyio.run(story)


def test_4xx_and_successes_in_between_keep_the_circuit_closed() -> None:
    neighbour = Neighbour()
    client = neighbour.client("moody")

    async def story() -> None:
        for status in [404] * 10 + [500, 500, 500, 500, 200, 500, 500, 500, 500]:
            neighbour.answers = [httpx.Response(status)]
            with pytest.raises(ServiceError) if status > 200 else nothing():
                await client.make_request("GET", "/")

    anyio.run(story)
    assert len(neighbour.requests) == 19


@contextmanager
def nothing() -> Iterator[None]:
    yield


def test_short_deadlines_do_not_open_the_circuit() -> None:
    neighbour = Neighbour(after(0.2))
    client = neighbour.client("slow")

    async def story() -> None:
        for _ in range(10):
            with pytest.raises(Unavailable):
                await client.make_request("POST", "/", timeout=0.01)
        assert await client.make_request("POST", "/") is None

    anyio.run(story)


def test_cancelled_calls_do_not_open_the_circuit() -> None:
    neighbour = Neighbour(after(0.1))
    client = neighbour.client("left-alone")

    async def story() -> None:
        for _ in range(10):
            with anyio.move_on_after(0.01):
                await client.make_request("GET", "/")
        assert await client.make_request("GET", "/") is None

    anyio.run(story)


# The service's own token


class Tokens:
    """An account that numbers its tokens."""

    def __init__(self) -> None:
        self.issued = 0
        self.current: dict[str | None, str] = {}

    async def get_token(self, on_behalf_of: str | None = None) -> str:
        if on_behalf_of not in self.current:
            self.issued += 1
            self.current[on_behalf_of] = f"{on_behalf_of or 'own'}-{self.issued}"
        return self.current[on_behalf_of]

    def forget_token(self, on_behalf_of: str | None = None) -> None:
        self.current.pop(on_behalf_of, None)


def test_a_call_carries_the_services_own_token_or_one_for_the_user() -> None:
    neighbour = Neighbour()
    client = neighbour.client(account=Tokens())

    request(client, "GET", "/")
    request(client, "GET", "/", on_behalf_of="ada")

    sent = [request.headers["Authorization"] for request in neighbour.requests]
    assert sent == ["Bearer own-1", "Bearer ada-2"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_token_is_replaced(method: str) -> None:
    neighbour = Neighbour(httpx.Response(401), WELL)

    request(neighbour.client(account=Tokens()), method, "/", on_behalf_of="ada")

    sent = [request.headers["Authorization"] for request in neighbour.requests]
    assert sent == ["Bearer ada-1", "Bearer ada-2"]


def test_a_neighbour_that_refuses_every_token_is_503() -> None:
    neighbour = Neighbour(httpx.Response(401))

    error = failure(neighbour.client(account=Tokens()), "GET", "/")

    assert error.status_code == 503
    assert len(neighbour.requests) == 3


def test_a_token_that_the_caller_gives_is_the_only_one() -> None:
    neighbour = Neighbour(httpx.Response(401, json={"detail": "Expired"}))
    client = neighbour.client(account=Tokens())

    error = failure(client, "GET", "/", headers={"authorization": "Bearer theirs"})

    assert error.status_code == 401
    assert neighbour.last.get_list("Authorization") == ["Bearer theirs"]


# From threads


def test_call_works_from_a_def_endpoint_with_its_trace_and_deadline() -> None:
    neighbour, app = Neighbour(), create_app(toy_settings())
    client = neighbour.client()
    app.state.transport = FakeIdentity()

    @app.get("/")
    def ask() -> Any:
        return client.call_from_thread("GET", "/")

    with TestClient(app) as toy:
        headers = {"X-Trace-ID": "from-the-edge", "X-Timeout-Ms": "500"}
        assert toy.get("/", headers=headers).json() == {"well": True}

    assert neighbour.last["X-Trace-ID"] == "from-the-edge"
    assert int(neighbour.last["X-Timeout-Ms"]) <= 500


def test_call_works_from_any_thread_with_its_trace() -> None:
    neighbour = Neighbour()
    client = neighbour.client()
    answers = []

    def work() -> None:
        with trace_context("of-a-task-in-celery"):
            answers.append(client.call_from_thread("GET", "/"))
            assert get_trace_id() == "of-a-task-in-celery"

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert answers == [{"well": True}] * 8
    assert {r.headers["X-Trace-ID"] for r in neighbour.requests} == {"of-a-task-in-celery"}


def test_call_raises_what_make_request_raises() -> None:
    neighbour = Neighbour(httpx.Response(404, json={"detail": "Because"}))

    with pytest.raises(ServiceError, match="Because"):
        neighbour.client().call_from_thread("GET", "/")


# Over a real network


def test_the_neighbours_name_is_its_host_unless_given() -> None:
    assert ServiceClient("http://content-service:8002/x", "toy-service").target == "content-service"


@pytest.mark.parametrize("url", ["", None])
def test_an_empty_base_url_is_refused_at_once(url: Any) -> None:
    with pytest.raises(ValueError, match="base_url is empty"):
        ServiceClient(url, "toy-service")


def test_a_closed_port_is_503_soon() -> None:
    started = monotonic()

    error = failure(ServiceClient("http://127.0.0.1:1", "toy-service"), "POST", "/")

    assert error.status_code == 503
    assert monotonic() - started < 1.5


def test_a_port_that_never_answers_is_503_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url, started = f"http://127.0.0.1:{silent.getsockname()[1]}", monotonic()

        error = failure(ServiceClient(url, "toy-service"), "POST", "/", timeout=0.3)

    assert error.status_code == 503
    assert monotonic() - started < 0.6


class Counting(ThreadingHTTPServer):
    """A neighbour with HTTP keep-alive that counts its connections."""

    connections = 0
    daemon_threads = True

    def get_request(self) -> Any:
        self.connections += 1
        return super().get_request()


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def echo() -> Iterator[Counting]:
    with Counting(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_calls_share_a_connection(echo: Counting) -> None:
    client = ServiceClient(f"http://127.0.0.1:{echo.server_port}", "toy-service")

    async def story() -> None:
        for number in range(5):
            assert await client.make_request("POST", "/", {"n": number}) == {"n": number}
        await client.aclose()

    anyio.run(story)
    assert echo.connections == 1


def test_nothing_is_connected_before_the_first_call(echo: Counting) -> None:
    app: FastAPI = create_app(
        toy_settings(identity_service_url=f"http://127.0.0.1:{echo.server_port}")
    )
    ServiceClient(f"http://127.0.0.1:{echo.server_port}", "toy-service")

    assert app.state.transport is None
    assert echo.connections == 0


def test_retry_after_is_parsed_in_both_of_its_forms() -> None:
    def asked(value: str) -> float:
        return parse_retry_after({"Retry-After": value})

    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)
    assert asked("7") == 7
    assert 50 < asked(in_a_minute) <= 60
    assert asked("soon") == asked("") == asked("-5") == 0
    assert asked("9" * 400) == 24 * 60 * 60
    assert asked(f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}") == 0
