"""Calls to a neighbour: what is sent, what comes back, and what is retried."""

import io
from time import monotonic

import httpx
import pytest

from chassis.errors import BadGateway, Unavailable
from chassis.tracing import trace_context

from .stub_neighbour import KEY, WELL, Answer, Neighbour, failure, request

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
    without = Neighbour(httpx.Response(503), WELL)
    with_key = Neighbour(httpx.Response(503), WELL)

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
    neighbour = Neighbour(busy, WELL)
    started = monotonic()

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
