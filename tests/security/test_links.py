"""Tests that a link from a mail works once, for the first who uses it."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from ..users import Person, Stack, eventually, get_mails, register, send_request

CONCURRENT_REQUESTS = 10


@pytest.fixture
def person(stack: Stack) -> Person:
    return register(stack)


def token_in_mail(person: Person, path: str) -> str:
    [mail] = eventually(lambda: get_mails(person.stack, person.email, path))
    [token] = re.findall(rf"{path}\?token=([\w-]+)", mail["text"])
    return str(token)


def post(stack: Stack, path: str, **body: str) -> httpx.Response:
    return send_request(stack, "POST", "identity", f"/api/v1/auth/{path}", json=body)


def send_concurrently(send: Callable[[int], httpx.Response]) -> list[int]:
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        return [response.status_code for response in pool.map(send, range(CONCURRENT_REQUESTS))]


def test_of_many_who_use_a_link_at_once_one_sets_the_password(stack: Stack, person: Person) -> None:
    post(stack, "forgot-password", email=person.email)
    token = token_in_mail(person, "/auth/reset-password")

    statuses = send_concurrently(
        lambda n: post(stack, "reset-password", token=token, new_password=f"new password no. {n}")
    )

    assert sorted(statuses) == [204, *[410] * (CONCURRENT_REQUESTS - 1)]
    winner = statuses.index(204)
    logins = [
        post(stack, "login", email=person.email, password=f"new password no. {n}").status_code
        for n in (winner, (winner + 1) % CONCURRENT_REQUESTS)
    ]
    assert logins == [200, 401]


def test_of_many_who_follow_a_link_at_once_one_verifies_the_address(
    stack: Stack, person: Person
) -> None:
    token = token_in_mail(person, "/auth/verify-email")

    statuses = send_concurrently(lambda _: post(stack, "verify-email", token=token))

    assert sorted(statuses) == [200, *[410] * (CONCURRENT_REQUESTS - 1)]


def test_no_link_is_in_a_log(stack: Stack, person: Person) -> None:
    post(stack, "forgot-password", email=person.email)
    tokens = [token_in_mail(person, f"/auth/{path}") for path in ("verify-email", "reset-password")]

    post(stack, "verify-email", token=tokens[0])
    send_request(stack, "GET", "identity", "/auth/reset-password", params={"token": tokens[1]})

    for process in ("identity-service", "communication-service", "communication-worker"):
        logged = stack.read_logs(process)
        assert not [token for token in tokens if token in logged], process
