"""The tokens of the service itself, and what identity sees of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client import REGISTRY

from chassis.errors import Forbidden, Unavailable
from chassis.remote_auth import ServiceAccount
from chassis.tracing import trace_context

from .toy import toy_settings
from .toy_identity import Identity, running, until


async def test_a_validation_has_the_trace_id_of_its_request_and_the_feed_its_own() -> None:
    identity = Identity()
    ada = identity.add_person()

    async with running(identity) as client:
        await client.get("/me", headers={**ada.headers, "X-Trace-ID": "trace-of-the-request"})

    traces: dict[str, set[str]] = {}
    for path, headers in zip(identity.paths, identity.headers, strict=True):
        traces.setdefault(path, set()).add(headers["X-Trace-ID"])
        assert headers["X-Service-Name"] == "toy-service"
    assert traces["/auth/validate"] == {"trace-of-the-request"}
    assert traces["/auth/changes"].isdisjoint({"trace-of-the-request"})
    assert len(traces["/auth/changes"]) == identity.count_requests("/auth/changes")


async def test_the_polls_of_the_feed_do_not_inherit_a_deadline() -> None:
    identity = Identity()

    with trace_context(seconds=0.2):
        async with running(identity, auth_max_staleness_seconds=0.4):
            await asyncio.sleep(0.4)
            polls = identity.count_requests("/auth/changes")
            await until(lambda: identity.count_requests("/auth/changes") > polls + 1)


async def test_the_feed_is_polled_with_the_token_of_the_service() -> None:
    identity = Identity()

    async with running(identity):
        pass

    poll = identity.headers[identity.paths.index("/auth/changes")]
    own = identity.answers[poll["Authorization"].removeprefix("Bearer ")]
    assert own["roles"] == ["service"]
    assert identity.count_requests("/auth/token") == 1


@asynccontextmanager
async def account_at(identity: Identity) -> AsyncIterator[ServiceAccount]:
    account = ServiceAccount(toy_settings(), identity)
    yield account
    await account.aclose()


async def test_service_tokens_are_cached_per_user_until_they_are_forgotten() -> None:
    identity = Identity()
    ada = identity.add_person("documents:read")

    async with account_at(identity) as account:
        own = await account.get_token()
        hers = await account.get_token(ada.user_id)
        assert [await account.get_token(), await account.get_token(ada.user_id)] == [own, hers]
        account.forget_token(ada.user_id)
        again = await account.get_token(ada.user_id)

    assert len({own, hers, again}) == 3
    assert identity.answers[again]["actor"] == "toy-service"
    assert identity.count_requests("/auth/token") == 3


async def test_a_service_token_is_replaced_before_it_expires() -> None:
    short = httpx.Response(200, json={"access_token": "short", "expires_in": 20})
    identity = Identity(odd={"/auth/token": short})

    async with account_at(identity) as account:
        await account.get_token()
        await account.get_token()

    assert identity.count_requests("/auth/token") == 2


async def test_a_token_for_an_inactive_user_is_forbidden() -> None:
    async with account_at(Identity()) as account:
        with pytest.raises(Forbidden, match="not active"):
            await account.get_token("unknown")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(401, json={"detail": "Wrong"}), "SERVICE_CLIENT_SECRET"),
        (httpx.Response(503), "unavailable"),
        (httpx.Response(200, json={}), "unexpected response"),
        (httpx.Response(200, json=[]), "unexpected response"),
    ],
)
async def test_without_a_service_token_it_is_503_never_401(
    answer: httpx.Response, words: str
) -> None:
    async with account_at(Identity(odd={"/auth/token": answer})) as account:
        with pytest.raises(Unavailable, match=words):
            await account.get_token()


async def test_the_circuit_to_identity_is_measured() -> None:
    identity = Identity(is_down=True)

    async with running(identity):
        await until(
            lambda: REGISTRY.get_sample_value("circuit_state", {"peer": "identity-service"}) == 1
        )
