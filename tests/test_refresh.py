"""Refresh tokens under storm: an honest client is never logged out, a thief's success is short."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from .people import NO_CERTIFICATES, Person, Stack, register

AT_ONCE, STORMS = 20, 100


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
