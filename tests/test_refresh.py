"""Tests that concurrent refreshes keep a session, and that a stolen refresh token ends it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from .users import (
    PASSWORD,
    WITHOUT_CERTIFICATES,
    Person,
    Stack,
    eventually,
    get_mails,
    log_in,
    register,
)

CONCURRENT_REFRESHES = 20
REFRESH_ROUNDS = 100
MAIL_TEXT = "we ended the session that it belongs to"


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    url = f"{stack.get_url('identity-service')}/api/v1/auth"
    async with httpx.AsyncClient(base_url=url, verify=WITHOUT_CERTIFICATES, timeout=15) as client:
        yield client


@pytest.fixture
def person(stack: Stack) -> Person:
    return register(stack)


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/refresh", json={"refresh_token": token})


async def refresh_concurrently(client: httpx.AsyncClient, token: str) -> str:
    """Return the one new token that all concurrent requests with the old one get."""
    answers = await asyncio.gather(*(refresh(client, token) for _ in range(CONCURRENT_REFRESHES)))
    assert {answer.status_code for answer in answers} == {200}
    [successor] = {answer.json()["refresh_token"] for answer in answers}
    return str(successor)


async def test_a_hundred_rounds_of_concurrent_refreshes_log_no_one_out(
    client: httpx.AsyncClient, person: Person
) -> None:
    token = person.refresh_token

    for _ in range(REFRESH_ROUNDS):
        token = await refresh_concurrently(client, token)

    assert len(person.get("identity", "/auth/sessions")["items"]) == 1
    assert (await refresh(client, token)).status_code == 200


async def test_a_token_used_twice_ends_its_session_and_is_reported(
    stack: Stack, client: httpx.AsyncClient, person: Person
) -> None:
    second = (await refresh(client, person.refresh_token)).json()
    third = (await refresh(client, second["refresh_token"])).json()

    reused = await refresh(client, person.refresh_token)

    assert reused.status_code == 401
    assert (await refresh(client, third["refresh_token"])).status_code == 401
    assert request_with_token(stack, third["access_token"]).status_code == 401
    again = log_in(stack, person.email, PASSWORD)
    assert eventually(lambda: get_mails(stack, person.email, MAIL_TEXT))
    assert eventually(lambda: MAIL_TEXT in str(again.get("communication", "/inbox")))
    assert find_reuse_event(stack, person)["trace_id"] == reused.headers["X-Trace-ID"]


def request_with_token(stack: Stack, token: str) -> httpx.Response:
    return Person(stack, "", "", token).request("GET", "identity", "/auth/me")


def find_reuse_event(stack: Stack, person: Person) -> Any:
    admin = log_in(stack, "admin@example.com")
    events = admin.get("identity", "/audit-events", params={"limit": 100})["items"]
    theirs = [event for event in events if event["subject_id"] == person.user_id]
    return next(event for event in theirs if event["action"] == "session.token_reused")
