"""Refresh tokens: an honest client is never logged out by its own races, and a thief is noticed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from .people import NO_CERTIFICATES, PASSWORD, Person, Stack, eventually, log_in, mails, register

AT_ONCE, STORMS = 20, 100
TOLD = "we ended the session it belongs to"


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    url = f"{stack.url('identity-service')}/api/v1/auth"
    async with httpx.AsyncClient(base_url=url, verify=NO_CERTIFICATES, timeout=15) as client:
        yield client


@pytest.fixture
def person(stack: Stack) -> Person:
    return register(stack)


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/refresh", json={"refresh_token": token})


async def storm(client: httpx.AsyncClient, token: str) -> str:
    """The one successor that everybody gets who presents the token at once."""
    answers = await asyncio.gather(*(refresh(client, token) for _ in range(AT_ONCE)))
    assert {answer.status_code for answer in answers} == {200}
    [successor] = {answer.json()["refresh_token"] for answer in answers}
    return str(successor)


async def test_a_hundred_storms_log_nobody_out(client: httpx.AsyncClient, person: Person) -> None:
    token = person.refresh_token

    for _ in range(STORMS):
        token = await storm(client, token)

    assert len(person.get("identity", "/auth/sessions")["items"]) == 1
    assert (await refresh(client, token)).status_code == 200


async def test_a_token_used_twice_ends_its_session_and_everybody_is_told(
    stack: Stack, client: httpx.AsyncClient, person: Person
) -> None:
    second = (await refresh(client, person.refresh_token)).json()
    third = (await refresh(client, second["refresh_token"])).json()

    reused = await refresh(client, person.refresh_token)

    assert reused.status_code == 401
    assert (await refresh(client, third["refresh_token"])).status_code == 401
    assert with_token(stack, third["access_token"]).status_code == 401
    again = log_in(stack, person.email, PASSWORD)
    assert eventually(lambda: mails(stack, person.email, TOLD))
    assert eventually(lambda: TOLD in str(again.get("communication", "/inbox")))
    assert reuse_on_record(stack, person)["trace_id"] == reused.headers["X-Trace-ID"]


def with_token(stack: Stack, token: str) -> httpx.Response:
    return Person(stack, "", "", token).ask("GET", "identity", "/auth/me")


def reuse_on_record(stack: Stack, person: Person) -> Any:
    admin = log_in(stack, "admin@example.com")
    events = admin.get("identity", "/audit-events", params={"limit": 100})["items"]
    theirs = [event for event in events if event["subject_id"] == person.user_id]
    return next(event for event in theirs if event["action"] == "session.token_reused")
