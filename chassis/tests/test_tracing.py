"""One trace id from the first request through every neighbour."""

import re
from math import inf

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chassis.app import create_app
from chassis.service_client import ServiceClient
from chassis.tracing import build_trace_headers, get_seconds_left, get_trace_id, trace_context

from .toy import toy_settings

HEX = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{HEX}-00f067aa0ba902b7-01"


def toy() -> FastAPI:
    app = create_app(toy_settings())

    @app.get("/sync")
    def in_a_thread() -> str | None:
        return get_trace_id()

    @app.get("/async")
    async def in_the_loop() -> str | None:
        return get_trace_id()

    @app.get("/left")
    async def left() -> float | None:
        return None if get_seconds_left() == inf else get_seconds_left()

    return app


@pytest.mark.parametrize("path", ["/sync", "/async", "/no-such-path"])
def test_the_callers_id_is_taken_and_returned(path: str) -> None:
    response = TestClient(toy()).get(path, headers={"x-trace-id": "from-the-caller"})

    assert response.headers["X-Trace-ID"] == "from-the-caller"
    assert "from-the-caller" in response.text


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Request-ID": "the-alias-of-it"}, "the-alias-of-it"),
        ({"traceparent": PARENT}, HEX),
        ({"X-Trace-ID": "the-first-one", "X-Request-ID": "the-second"}, "the-first-one"),
        ({"X-Trace-ID": "own-and-w3c", "traceparent": PARENT}, "own-and-w3c"),
        ({"X-Trace-ID": "no good", "traceparent": PARENT}, HEX),
    ],
)
def test_the_trace_id_is_read_from_each_header(headers: dict[str, str], expected: str) -> None:
    response = TestClient(toy()).get("/async", headers=headers)

    assert response.json() == response.headers["X-Trace-ID"] == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Trace-ID": ""},
        {"X-Trace-ID": "short"},
        {"X-Trace-ID": "x" * 65},
        {"X-Trace-ID": "x" * 100_000},
        {"X-Trace-ID": "with space inside"},
        {"X-Trace-ID": '"},{"level":"forged"'},
        {"X-Trace-ID": "newline-at-the-end\n".strip() + "\t"},
        {"X-Trace-ID": "ünïcödé-identifier".encode()},
        {"traceparent": "00-nothing-like-it-01"},
        {"traceparent": PARENT.upper()},
    ],
)
def test_a_missing_or_malformed_id_is_replaced(headers: dict[str, str | bytes]) -> None:
    response = TestClient(toy()).get("/async", headers=headers)  # type: ignore[arg-type]

    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Trace-ID"])


def test_each_request_has_an_id_of_its_own() -> None:
    client = TestClient(toy())

    assert client.get("/sync").json() != client.get("/sync").json()


def test_background_work_runs_under_the_id_it_is_given() -> None:
    with trace_context("the-request-behind-it"):
        inside = get_trace_id()
        with trace_context() as another:
            assert get_trace_id() == another != inside

    assert inside == "the-request-behind-it"
    assert get_trace_id() is None


def test_a_uuid_and_32_hex_digits_are_sent_as_traceparent_too() -> None:
    for identifier in (HEX, "4BF92F35-77b3-4da6-a3ce-929d0e0e4736"):
        with trace_context(identifier):
            headers = build_trace_headers()

        assert headers["X-Trace-ID"] == identifier
        assert re.fullmatch(rf"00-{HEX}-[0-9a-f]{{16}}-01", headers["traceparent"])


def test_any_other_id_is_sent_by_its_own_header_alone() -> None:
    with trace_context("of-the-callers-own-kind"):
        headers = build_trace_headers()

    assert headers == {"X-Trace-ID": "of-the-callers-own-kind"}


def test_work_without_an_id_gets_one_when_it_calls_out() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", build_trace_headers()["X-Trace-ID"])


@pytest.mark.parametrize(("header", "seconds"), [("1500", 1.5), ("0", 0), ("9" * 50, 999_999.999)])
def test_the_timeout_of_the_caller_is_parsed(header: str, seconds: float) -> None:
    left = TestClient(toy()).get("/left", headers={"X-Timeout-Ms": header}).json()

    assert left == pytest.approx(seconds, abs=0.2)


@pytest.mark.parametrize("header", ["", "soon", "-1", "1.5", "1e3"])
def test_an_invalid_timeout_is_ignored(header: str) -> None:
    assert TestClient(toy()).get("/left", headers={"X-Timeout-Ms": header}).json() is None


def test_background_work_does_not_inherit_the_deadline_of_a_request() -> None:
    app = toy()

    @app.get("/later")
    async def later() -> bool:
        with trace_context():
            return get_seconds_left() == inf

    assert TestClient(app).get("/later", headers={"X-Timeout-Ms": "1000"}).json()


def test_a_neighbour_in_the_same_process_leaves_the_callers_context_alone() -> None:
    neighbour = ServiceClient("http://toy", "me", transport=httpx.ASGITransport(toy()))

    async def call() -> None:
        with trace_context("the-callers-own-id"):
            await neighbour.make_request("GET", "/left", timeout=0.5)
            assert get_trace_id() == "the-callers-own-id"
            assert get_seconds_left() == inf

    anyio.run(call)
