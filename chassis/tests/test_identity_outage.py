"""Authentication while identity is slow, gone, or sends unexpected responses."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import httpx
import pytest

from .toy_identity import Identity, me, running, until, until_seen


async def test_a_silent_feed_makes_every_request_call_identity() -> None:
    identity = Identity()
    ada = identity.add_person()

    async with running(identity, auth_max_staleness_seconds=0.3) as client:
        await me(client, ada)
        identity.deaf = True
        await asyncio.sleep(0.6)

        assert [await me(client, ada) for _ in range(3)] == [200] * 3
        assert identity.validations == 4

        identity.deaf = False
        await until_seen(identity, answers=2)
        await me(client, ada)
        asked = identity.validations
        assert [await me(client, ada) for _ in range(3)] == [200] * 3

    assert identity.validations == asked


async def test_a_short_outage_of_identity_goes_unnoticed_and_a_long_one_is_503() -> None:
    identity = Identity()
    ada = identity.add_person()
    bob = identity.add_person()

    async with running(identity, auth_max_staleness_seconds=0.5) as client:
        await me(client, ada)
        identity.is_down = True
        assert await me(client, ada) == 200

        await asyncio.sleep(0.8)
        started = monotonic()
        response = await client.get("/me", headers=ada.headers)
        assert monotonic() - started < 1.5
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
        assert await me(client, bob) == 503

        identity.is_down = False
        back_at = monotonic()
        while [await me(client, ada), await me(client, bob)] != [200, 200]:
            assert monotonic() - back_at < 4  # the circuit closes again
            await asyncio.sleep(0.1)


async def test_without_identity_a_new_token_is_503_soon() -> None:
    identity = Identity(is_down=True)
    ada = identity.add_person()

    async with running(identity) as client:
        started = monotonic()
        response = await client.get("/me", headers=ada.headers)

    assert response.status_code == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert monotonic() - started < 1.5


WELL_FORMED: dict[str, Any] = {"user_id": "x", "email": None, "roles": [], "permissions": []}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(503),
        httpx.Response(429, headers={"Retry-After": "9"}),
        httpx.Response(404),
        httpx.Response(422),
        httpx.Response(307),
        httpx.Response(204),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"user_id": "x"}),
        httpx.Response(200, json={"user_id": "x", "email": None, "roles": 7, "permissions": []}),
        httpx.Response(200, json={**WELL_FORMED, "expires_at": "2999-01-01T00:00:00"}),
        httpx.Response(200, json={**WELL_FORMED, "roles": [None]}),
    ],
)
async def test_an_unexpected_response_of_identity_is_503_and_grants_no_access(
    answer: httpx.Response,
) -> None:
    identity = Identity(odd={"/auth/validate": answer})
    ada = identity.add_person()

    async with running(identity) as client:
        response = await client.get("/me", headers=ada.headers)

    assert response.status_code == 503
    assert "Retry-After" in response.headers


@pytest.mark.parametrize(
    "feed", ["[]", "null", "7", '"x"', "{}", "<html>", '{"latest": 1, "reset": 0, "changes": [7]}']
)
async def test_an_unexpected_response_does_not_stop_the_polls_of_the_feed(feed: str) -> None:
    identity = Identity(odd={"/auth/changes": httpx.Response(200, content=feed)})
    ada = identity.add_person()

    async with running(identity) as client:
        await asyncio.sleep(0.1)
        del identity.odd["/auth/changes"]
        await until(lambda: identity.count_requests("/auth/changes") >= 4)
        assert [await me(client, ada) for _ in range(3)] == [200] * 3

    assert identity.validations == 1


async def test_an_expired_token_is_not_served_from_the_cache() -> None:
    identity = Identity()
    ada = identity.add_person()

    async with running(identity) as client:
        soon = datetime.now(UTC) + timedelta(seconds=0.5)
        identity.answers[ada.token]["expires_at"] = soon.isoformat()
        assert [await me(client, ada) for _ in range(3)] == [200] * 3
        assert identity.validations == 1
        await asyncio.sleep(0.6)
        del identity.answers[ada.token]

        assert await me(client, ada) == 401


@pytest.mark.parametrize("zone", ["Z", "+00:00", "+05:30", "-11:00"])
async def test_expiry_is_understood_in_any_time_zone(zone: str) -> None:
    identity = Identity()
    ada = identity.add_person()
    identity.answers[ada.token]["expires_at"] = "2999-01-01T00:00:00" + zone

    async with running(identity) as client:
        assert [await me(client, ada) for _ in range(2)] == [200] * 2

    assert identity.validations == 1
