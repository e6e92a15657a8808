"""Deadlines of calls to a neighbour, and the circuit breaker."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import anyio
import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from chassis.app import create_app
from chassis.errors import BadGateway, ServiceError, TooManyRequests, Unavailable

from .stub_neighbour import WELL, Answer, Neighbour, after, failure, request
from .toy import toy_settings

# Deadlines


def test_the_neighbour_learns_how_long_we_wait() -> None:
    neighbour = Neighbour()

    request(neighbour.client(), "GET", "/", timeout=2.5)

    assert 2000 < int(neighbour.last["X-Timeout-Ms"]) <= 2500


@pytest.mark.parametrize("answer", [after(5), httpx.ReadError("reset"), httpx.Response(503)])
def test_a_call_ends_with_its_deadline_and_its_own_error(answer: Answer) -> None:
    neighbour = Neighbour(answer)
    started = monotonic()

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
    neighbour = Neighbour(after(5))
    app = create_app(toy_settings())
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
