"""Calls to a neighbour from threads and over a real network."""

import socket
import threading
from collections.abc import Iterator
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

from chassis.app import create_app
from chassis.errors import ServiceError
from chassis.service_client import ServiceClient, parse_retry_after
from chassis.tracing import get_trace_id, trace_context
from tools.localdev.fake_identity import FakeIdentity

from .stub_neighbour import Neighbour, failure
from .toy import toy_settings

# From threads


def test_call_works_from_a_def_endpoint_with_its_trace_and_deadline() -> None:
    neighbour = Neighbour()
    app = create_app(toy_settings())
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
        client = ServiceClient(f"http://127.0.0.1:{silent.getsockname()[1]}", "toy-service")
        started = monotonic()

        error = failure(client, "POST", "/", timeout=0.3)

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
