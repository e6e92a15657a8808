"""/metrics, and the log line of each request."""

import json
import logging
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chassis.app import create_app
from chassis.routing import APIRouter

from .toy import toy_settings


def toy() -> FastAPI:
    app = create_app(toy_settings())
    router = APIRouter()

    @router.get("/things/{thing}")
    def read(thing: int, token: str = "") -> int:
        return 1 // thing

    @app.get("/health/live")
    def live() -> int:
        return app.state.active_connections  # type: ignore[no-any-return]

    app.include_router(router, prefix="/api/v1")
    return app


def value(client: TestClient, sample: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(sample + " "))


@pytest.mark.parametrize(
    ("path", "labels"),
    [
        ("/api/v1/things/7", 'method="GET",route="/api/v1/things/{thing}",status="200"'),
        ("/api/v1/things/x", 'method="GET",route="/api/v1/things/{thing}",status="422"'),
        ("/api/v1/things/0", 'method="GET",route="/api/v1/things/{thing}",status="500"'),
        ("/nowhere/7", 'method="GET",route="unmatched",status="404"'),
    ],
)
def test_requests_are_counted_by_route_and_status(path: str, labels: str) -> None:
    client = TestClient(toy())
    sample = f"http_requests_total{{{labels}}}"
    before = value(client, sample)

    client.get(path)

    assert value(client, sample) == before + 1


def test_requests_are_timed() -> None:
    client = TestClient(toy())
    sample = 'http_request_duration_seconds_count{method="GET",route="/api/v1/things/{thing}"}'
    before = value(client, sample)

    client.get("/api/v1/things/7")

    assert value(client, sample) == before + 1


def test_active_connections_are_those_in_flight() -> None:
    app = toy()
    client = TestClient(app)

    assert client.get("/health/live").json() == 1
    client.get("/api/v1/things/0")
    assert app.state.active_connections == 0


def lines(captured: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in captured.splitlines()]


def test_a_request_is_one_line_with_its_trace_id(capsys: pytest.CaptureFixture[str]) -> None:
    client = TestClient(toy())

    client.get("/api/v1/things/7?token=canary", headers={"X-Trace-ID": "the-trace-in-the-log"})

    (line,) = lines(capsys.readouterr().out)
    assert line["message"].startswith("GET /api/v1/things/{thing} 200 ")
    assert line["trace_id"] == "the-trace-in-the-log"
    assert line["service"] == "toy-service"
    assert line["level"] == "INFO"
    assert "canary" not in str(line)


def test_the_values_in_a_path_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("/api/v1/things/canary", "/nowhere/canary"):
        TestClient(toy()).get(path)

    assert "canary" not in capsys.readouterr().out


def test_a_crash_leaves_its_traceback_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    TestClient(toy()).get("/api/v1/things/0")

    crash, request = lines(capsys.readouterr().out)
    assert "ZeroDivisionError" in crash["exc_info"]
    assert crash["trace_id"] == request["trace_id"]


def test_polls_are_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    client = TestClient(toy())

    client.get("/health/live")
    client.get("/metrics")

    assert capsys.readouterr().out == ""


def test_debug_logs_are_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    create_app(toy_settings(debug=True, log_level="debug"))

    logging.getLogger("toy").debug("Hello")

    assert capsys.readouterr().out.rstrip().endswith(" DEBUG   - toy: Hello")


def test_the_level_is_that_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    create_app(toy_settings(log_level="warning"))

    logging.getLogger("toy").info("Hello")
    logging.getLogger("toy").warning("Ouch")

    assert [line["message"] for line in lines(capsys.readouterr().out)] == ["Ouch"]
