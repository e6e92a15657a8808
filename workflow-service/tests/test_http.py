"""Requests to servers outside of the platform."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Caller, Work
from .steps import LIST


def test_http_carries_the_steps_key_and_gives_what_was_answered(
    starter: Caller, work: Work, web: Callable[..., Any]
) -> None:
    with web((503, {}, b""), (200, {"Content-Type": "application/json"}, b'{"n": 7}')) as server:
        call = {
            "kind": "http",
            "with": {"method": "'POST'", "url": f"'{server.url}/x'", "body": {"a": "input.items"}},
        }
        run = starter.start(
            starter.publish({"call": call}, input=LIST, output={"n": "steps.call.json.n"}),
            items=[1],
        )
        work()

    keys = [headers["idempotency-key"] for _, headers, _ in server.requests]
    assert starter.run(run)["output"] == {"n": 7}
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert server.requests[0][2] == b'{"a": [1]}'
    assert not any("authorization" in headers for _, headers, _ in server.requests)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/", "127.0.0.1 has an address that is not public"),
        ("http://169.254.169.254/latest", "has an address that is not public"),
        ("http://[::1]/", "has an address that is not public"),
        ("http://localhost:8001/", "has an address that is not public"),
        ("ftp://example.com/", "must begin with https:// or http://"),
        ("http://a:b@example.com/", "no user, password"),
    ],
)
def test_http_never_leads_into_our_own_network(
    starter: Caller, work: Work, url: str, reason: str
) -> None:
    run = starter.start(starter.publish({"call": {"kind": "http", "with": {"url": f"'{url}'"}}}))

    work()

    assert reason in starter.run(run)["error"]


def test_http_gives_up_at_once_when_it_is_refused(
    starter: Caller, work: Work, web: Callable[..., Any]
) -> None:
    with web((404, {}, b"")) as server:
        call = {"kind": "http", "with": {"url": f"'{server.url}/'"}}
        run = starter.start(starter.publish({"call": call}))
        work()

    assert starter.run(run)["error"] == "call: 127.0.0.2: answered 404"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "127.0.0.2: its answer should be JSON, and is not JSON"),
        (b"[" * 60_000, "127.0.0.2: its answer should be JSON, and is not JSON"),
        (b'"' + b"x" * 70_000 + b'"', "its answer should be JSON, and is longer than 64 KiB"),
        (b'{"n": NaN}', "its output cannot be stored: it must not contain NaN"),
        (b"[" + b"1," * 10_000 + b"1]", "it must have at most 10000 values"),
        (b"[" * 21 + b"]" * 21, "it must have at most 10000 values, nested 20 deep"),
        (b'"\\ud800"', "it must be well-formed Unicode"),
    ],
)
def test_an_answer_that_cannot_be_kept_fails_the_step_at_once_with_the_reason(
    starter: Caller, work: Work, web: Callable[..., Any], body: bytes, reason: str
) -> None:
    with web((200, {"Content-Type": "application/json"}, body)) as server:
        call = {"kind": "http", "with": {"method": "'POST'", "url": f"'{server.url}/'"}}
        run = starter.start(starter.publish({"call": call}))
        work()

    assert reason in starter.run(run)["error"]
    assert len(server.requests) == 1
