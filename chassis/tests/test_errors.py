"""Every error response is application/problem+json."""

from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from chassis.app import create_app
from chassis.errors import Conflict, NotFound, ServiceError, Unavailable, Unprocessable

from .toy import toy_settings

TRACE = {"X-Trace-ID": "trace-of-the-test"}


class DuplicateTitle(Conflict):
    """Names an error of a service."""


class Teapot(ServiceError):
    status_code = 418


def raising(error: Exception) -> FastAPI:
    app = create_app(toy_settings())

    @app.get("/fail/{what}")
    def fail(what: str, a: int = 0) -> None:
        raise error

    return app


def test_a_service_error_is_a_problem_with_all_its_members() -> None:
    client = TestClient(raising(DuplicateTitle("You have this title already")))

    response = client.get("/fail/now?a=1", headers=TRACE)

    assert response.status_code == 409
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "You have this title already",
        "instance": "/fail/now",
        "code": "DuplicateTitle",
        "trace_id": "trace-of-the-test",
    }


def test_an_error_names_its_fields() -> None:
    client = TestClient(raising(Unprocessable.for_field("title", "is too long")))

    problem = client.get("/fail/now").json()

    assert problem["detail"] == "title: is too long"
    assert problem["errors"] == [{"field": "title", "message": "is too long"}]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (HTTPException(404, "No such thing"), 404, "NotFound"),
        (HTTPException(402, "Pay first"), 402, "PaymentRequired"),
        (Teapot("Short and stout"), 418, "Teapot"),
        (NotFound("Nothing here"), 404, "NotFound"),
        (ServiceError("A neighbour's odd status", 499), 499, "Error"),
    ],
)
def test_any_status_is_a_problem(error: Exception, status: int, code: str) -> None:
    response = TestClient(raising(error)).get("/fail/now")

    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == status
    assert response.json()["code"] == code


def test_an_http_exception_keeps_its_headers() -> None:
    client = TestClient(raising(HTTPException(429, "Slowly", {"Retry-After": "7"})))

    response = client.get("/fail/now")

    assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize(("seconds", "header"), [(7, "7"), (0.2, "1"), (2.6, "3")])
def test_unavailable_says_when_to_retry(seconds: float, header: str) -> None:
    client = TestClient(raising(Unavailable("Not now", retry_after=seconds)))

    response = client.get("/fail/now")

    assert (response.status_code, response.headers["Retry-After"]) == (503, header)


def test_an_unknown_path_and_a_wrong_method_are_problems() -> None:
    client = TestClient(raising(ServiceError("never")))

    missing = client.get("/nowhere")
    wrong = client.post("/fail/now")

    assert (missing.status_code, missing.json()["code"]) == (404, "NotFound")
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET")
    assert wrong.headers["Content-Type"] == "application/problem+json"


def test_a_wrong_method_names_all_methods_of_its_path() -> None:
    app = raising(ServiceError("never"))
    for path, method in (("/notes/{id}", "GET"), ("/notes/new", "PUT"), ("/notes/{id}", "DELETE")):
        app.add_api_route(path, lambda: None, methods=[method])
    client = TestClient(app)

    assert client.post("/notes/1").headers["Allow"] == "DELETE, GET"
    assert client.post("/notes/new").headers["Allow"] == "PUT"


def test_the_name_of_an_unknown_field_is_cut() -> None:
    app = create_app(toy_settings())

    @app.post("/add")
    def add(numbers: dict[str, int]) -> int:
        return sum(numbers.values())

    (error,) = TestClient(app).post("/add", json={"x" * 100_000: "y"}).json()["errors"]

    assert error["field"] == "x" * 100


def test_each_wrong_parameter_is_named() -> None:
    app = create_app(toy_settings())

    @app.get("/add/{a}")
    def add(a: int, b: int) -> int:
        return a + b

    response = TestClient(app).get("/add/x?b=y")

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["a", "b"]
    assert response.json()["detail"].startswith("a: ")


def test_an_unexpected_error_shows_only_the_trace_id() -> None:
    client = TestClient(raising(RuntimeError("password canary")))

    response = client.get("/fail/now", headers=TRACE)

    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["X-Trace-ID"] == "trace-of-the-test"
    assert response.json()["code"] == "InternalServerError"
    assert response.json()["trace_id"] == "trace-of-the-test"
    assert "canary" not in response.text


def uploads() -> FastAPI:
    app = create_app(toy_settings(max_body_bytes=1000))

    @app.post("/echo")
    def echo(body: dict[str, str]) -> dict[str, str]:
        return body

    return app


def in_chunks(total: int) -> Iterator[bytes]:
    yield b'{"a": "'
    for _ in range(total // 100):
        yield b"x" * 100
    yield b'"}'


@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_that_is_too_large_is_a_413_problem(has_length: bool) -> None:
    client = TestClient(uploads())
    body = b"".join(in_chunks(2000)) if has_length else in_chunks(2000)

    response = client.post(
        "/echo", content=body, headers={"Content-Type": "application/json", **TRACE}
    )

    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "PayloadTooLarge"
    assert response.json()["trace_id"] == "trace-of-the-test"


@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_within_the_limit_is_read(has_length: bool) -> None:
    client = TestClient(uploads())
    body = b"".join(in_chunks(900)) if has_length else in_chunks(900)

    response = client.post("/echo", content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 200


def test_an_endpoint_may_accept_larger_bodies() -> None:
    app = uploads()

    @app.post("/upload", max_body_size=5000)
    def upload(body: dict[str, str]) -> int:
        return len(body["a"])

    response = TestClient(app).post(
        "/upload", content=in_chunks(2000), headers={"Content-Type": "application/json"}
    )

    assert response.json() == 2000


def test_a_response_that_fails_after_its_start_is_cut_off() -> None:
    app = create_app(toy_settings())

    async def half() -> AsyncIterator[str]:
        yield "the first half"
        raise RuntimeError("and no more")

    @app.get("/half")
    async def stream() -> StreamingResponse:
        return StreamingResponse(half())

    with pytest.raises(RuntimeError, match="and no more"):
        TestClient(app).get("/half")
