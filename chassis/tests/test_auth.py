"""Who is let in, by an identity service that answers, changes its mind, is slow, or is gone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from chassis.app import create_app
from chassis.auth import CurrentUser, User, require_permission
from chassis.errors import Forbidden, Unavailable
from chassis.remote_auth import ServiceAccount
from chassis.tracing import trace_context
from tools.localdev.fake_identity import FakeIdentity, Person

from .toy import toy_settings

Author = Annotated[User, require_permission("documents:write")]


@dataclass
class Identity(FakeIdentity):
    """Counts what it is asked, and can be slow or answer oddly on one path."""

    paths: list[str] = field(default_factory=list)
    headers: list[httpx.Headers] = field(default_factory=list)
    slow: float = 0  # seconds an answer of /auth/validate is on its way
    odd: dict[str, httpx.Response] = field(default_factory=dict)  # by path
    deaf: bool = False  # the feed alone does not answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        self.paths.append(path)
        self.headers.append(request.headers)
        if path in self.odd or (self.deaf and path == "/auth/changes"):
            await asyncio.sleep(0.01)
            found = self.odd.get(path, httpx.Response(503))
            return httpx.Response(found.status_code, headers=found.headers, content=found.content)
        response = await super().handle_async_request(request)
        if path == "/auth/validate":
            await asyncio.sleep(self.slow)
        return response

    def asked(self, path: str) -> int:
        return self.paths.count(path)


def toy(identity: Identity, **changes: Any) -> FastAPI:
    app = create_app(toy_settings(**changes))
    app.state.transport = identity

    @app.get("/me")
    async def me(user: CurrentUser) -> dict[str, Any]:
        return {"user_id": user.user_id, "actor": user.actor, "service": user.is_service}

    @app.post("/documents")
    def write(author: Author) -> str:
        return author.user_id

    @app.put("/documents")
    def replace(user: CurrentUser, author: Author, pages: dict[str, int]) -> int:
        return len(pages)

    return app


@asynccontextmanager
async def running(
    identity: Identity, max_cached_users: int | None = None, **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """The toy service, once it has heard the change feed (if it can)."""
    app = toy(identity, **changes)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://toy") as client,
    ):
        if max_cached_users:
            app.state.authenticate.max_cached_users = max_cached_users
        if not (identity.is_down or identity.deaf):
            await until(lambda: identity.asked("/auth/changes") >= 2)
        yield client


async def until(holds: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


async def me(client: httpx.AsyncClient, person: Person) -> int:
    return (await client.get("/me", headers=person.headers)).status_code


# The hot path


async def test_identity_validates_a_token_once_and_the_user_is_cached() -> None:
    identity = Identity()
    ada = identity.add_person()

    async with running(identity) as client:
        statuses = [await me(client, ada) for _ in range(50)]

    assert statuses == [200] * 50
    assert identity.validations == 1


async def test_requests_that_bring_a_new_token_together_share_one_validation() -> None:
    identity = Identity(slow=0.1)
    ada, bob = identity.add_person(), identity.add_person()

    async with running(identity) as client:
        statuses = await asyncio.gather(*(me(client, who) for who in [ada, bob] * 20))

    assert set(statuses) == {200}
    assert identity.validations == 2


async def test_a_client_that_disconnects_does_not_cancel_the_validation_of_others() -> None:
    identity = Identity(slow=0.1)
    ada = identity.add_person()

    async with running(identity) as client:
        first = asyncio.create_task(me(client, ada))
        await until(lambda: identity.validations == 1)
        second = asyncio.create_task(me(client, ada))
        await asyncio.sleep(0.01)
        first.cancel()

        assert await second == 200
        assert await me(client, ada) == 200

    assert identity.validations == 1


async def test_the_short_deadline_of_one_request_does_not_limit_the_others() -> None:
    identity = Identity(slow=0.2)
    ada = identity.add_person()

    async with running(identity) as client:
        headers = {**ada.headers, "X-Timeout-Ms": "50"}
        hurried = asyncio.create_task(client.get("/me", headers=headers))
        await until(lambda: identity.validations == 1)

        assert await me(client, ada) == 200
        await hurried

    assert identity.validations == 1


async def test_two_tokens_of_one_person_are_cached_apart() -> None:
    identity = Identity()
    reader = identity.add_person("documents:read")
    writer = identity.add_person("documents:write", user_id=reader.user_id)

    async with running(identity) as client:
        refused = await client.post("/documents", headers=reader.headers)
        accepted = await client.post("/documents", headers=writer.headers)

    assert (refused.status_code, accepted.status_code) == (403, 200)


async def test_the_cache_of_users_has_a_limited_size() -> None:
    identity = Identity()
    people = [identity.add_person() for _ in range(4)]

    async with running(identity, max_cached_users=3) as client:
        for person in people:
            assert await me(client, person) == 200
        assert [await me(client, person) for person in people[1:]] == [200] * 3
        assert identity.validations == 4  # the youngest three were kept

        assert await me(client, people[0]) == 200
        assert identity.validations == 5


async def test_a_token_is_checked_once_and_before_the_body_is_read() -> None:
    identity = Identity(deaf=True)  # so that it is asked each time
    ada = identity.add_person("documents:write")
    sent: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        sent.append("a part")
        yield b"{"

    async with running(identity) as client:
        stranger = await client.put("/documents", content=body())
        known = await client.put("/documents", json={"a": 1}, headers=ada.headers)
        wrong_method = await client.patch("/documents", content=body())

    assert (stranger.status_code, stranger.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert sent == []
    assert (known.status_code, wrong_method.status_code) == (200, 405)
    assert identity.validations == 1


# Changes


async def test_a_revoked_token_is_rejected_at_once() -> None:
    identity = Identity()
    ada, bob = identity.add_person(), identity.add_person()

    async with running(identity) as client:
        assert [await me(client, ada), await me(client, bob)] == [200, 200]
        identity.revoke(ada)
        revoked_at = monotonic()
        while await me(client, ada) == 200:
            await asyncio.sleep(0.005)

        assert monotonic() - revoked_at < 0.5
        assert await me(client, bob) == 200

    assert identity.validations == 3  # ada's, bob's and ada's again: bob's was kept


async def test_a_change_of_one_session_keeps_the_other_sessions_of_the_user() -> None:
    identity = Identity()
    phone = identity.add_person()
    laptop = identity.add_person(user_id=phone.user_id)

    async with running(identity) as client:
        assert [await me(client, phone), await me(client, laptop)] == [200, 200]
        session_id = identity.answers.pop(phone.token)["session_id"]
        change = {"seq": 1, "user_id": phone.user_id, "session_id": session_id}
        identity.changes.append(change)
        await until_seen(identity)

        assert [await me(client, phone), await me(client, laptop)] == [401, 200]

    assert identity.validations == 2


async def test_a_token_of_an_ended_session_is_rejected_even_without_identity() -> None:
    identity = Identity()
    ada, bob = identity.add_person(), identity.add_person()

    async with running(identity) as client:
        assert [await me(client, ada), await me(client, bob)] == [200, 200]
        session_id = identity.answers[ada.token]["session_id"]
        identity.changes += [
            {"seq": 1, "user_id": ada.user_id, "session_id": session_id},
            {"seq": 2, "user_id": bob.user_id, "session_id": None},  # other roles, perhaps
        ]
        await until_seen(identity)
        identity.is_down = True

        assert [await me(client, ada), await me(client, bob)] == [401, 503]


async def test_a_change_that_names_no_user_drops_all_users() -> None:
    identity = Identity()
    ada = identity.add_person()

    async with running(identity) as client:
        await me(client, ada)
        identity.changes.append({"seq": 1, "user_id": None, "session_id": None})
        await until_seen(identity)
        await me(client, ada)

    assert identity.validations == 2


async def test_a_reset_of_the_feed_drops_all_users() -> None:
    identity = Identity()
    ada = identity.add_person()

    async with running(identity) as client:
        await me(client, ada)
        reset = {"latest": 0, "reset": True, "changes": []}
        identity.odd["/auth/changes"] = httpx.Response(200, content=json.dumps(reset))
        identity.changes.append({"seq": 1, "user_id": "somebody else", "session_id": None})
        await until_seen(identity, answers=2)
        del identity.odd["/auth/changes"]
        await me(client, ada)

    assert identity.validations == 2


async def until_seen(identity: Identity, answers: int = 1) -> None:
    """Until the follower has processed so many more answers of the feed."""
    polls = identity.asked("/auth/changes")
    await until(lambda: identity.asked("/auth/changes") >= polls + answers)


async def test_a_response_that_a_change_overtook_is_not_cached() -> None:
    identity = Identity(slow=0.2)
    ada = identity.add_person()

    async with running(identity) as client:
        first = asyncio.create_task(me(client, ada))
        await until(lambda: identity.validations == 1)
        identity.revoke(ada)  # while the answer is on its way
        await first

        assert await me(client, ada) == 401


async def test_a_request_after_a_change_does_not_share_a_validation_from_before_it() -> None:
    identity = Identity(slow=0.3)
    ada = identity.add_person()

    async with running(identity) as client:
        before = asyncio.create_task(me(client, ada))
        await until(lambda: identity.validations == 1)
        identity.revoke(ada)
        await asyncio.sleep(0.1)  # the change is known, the first answer still on its way

        assert await me(client, ada) == 401
        await before


# Identity in trouble


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
    ada, bob = identity.add_person(), identity.add_person()

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
        await until(lambda: identity.asked("/auth/changes") >= 4)
        assert [await me(client, ada) for _ in range(3)] == [200] * 3

    assert identity.validations == 1


async def test_an_expired_token_is_not_served_from_the_cache() -> None:
    identity = Identity()
    ada = identity.add_person()
    soon = datetime.now(UTC) + timedelta(seconds=0.5)
    identity.answers[ada.token]["expires_at"] = soon.isoformat()

    async with running(identity) as client:
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


# What callers send


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic YWRhOmFkYQ==",
        b"Token abc",
        b"BearerX abc",
        b"Bearer two words",
        b"Bearer \xfc\xf1\xef",
        b"Bearer tab\there",
        b"Bearer nul\x00",
    ],
)
async def test_a_malformed_token_is_401_without_a_call_to_identity(
    header: bytes | None,
) -> None:
    identity = Identity()

    async with running(identity) as client:
        headers = {} if header is None else {"Authorization": header}
        response = await client.get("/me", headers=headers)  # type: ignore[arg-type]

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["detail"] == "Not authenticated"
    assert identity.validations == 0


@pytest.mark.parametrize("token", ["garbage", "x" * 20_000, "a.b.c", "../../etc", "%00", "\\"])
async def test_a_token_that_identity_does_not_know_is_401(token: str) -> None:
    async with running(Identity()) as client:
        response = await client.get("/me", headers={"Authorization": f"Bearer {token}"})

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["detail"] == "Invalid or expired token"
    assert token not in response.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_the_scheme_may_be_written_in_any_way(scheme: str) -> None:
    identity = Identity()
    ada = identity.add_person()

    async with running(identity) as client:
        headers = {"Authorization": f"{scheme} {ada.token}"}
        response = await client.get("/me", headers=headers)

    assert response.status_code == 200


async def test_a_missing_permission_is_403_and_named() -> None:
    identity = Identity()
    reader = identity.add_person("documents:read")

    async with running(identity) as client:
        response = await client.post("/documents", headers=reader.headers)

    assert response.status_code == 403
    assert response.json()["detail"] == "This needs the permission documents:write"


@pytest.mark.parametrize("permission", ["documents:write", "*"])
async def test_the_permission_itself_or_the_star_grants_access(permission: str) -> None:
    identity = Identity()
    writer = identity.add_person(permission)

    async with running(identity) as client:
        response = await client.post("/documents", headers=writer.headers)

    assert response.json() == writer.user_id


async def test_the_user_names_the_service_that_acts_for_them() -> None:
    identity = Identity()
    service = identity.add_person(roles=("service",))
    acting = identity.add_person(actor="workflow-service")

    async with running(identity) as client:
        one = (await client.get("/me", headers=service.headers)).json()
        two = (await client.get("/me", headers=acting.headers)).json()

    assert one == {"user_id": service.user_id, "actor": None, "service": True}
    assert two == {"user_id": acting.user_id, "actor": "workflow-service", "service": False}


async def test_the_docs_know_which_endpoints_want_a_token() -> None:
    async with running(Identity()) as client:
        schema = (await client.get("/openapi.json")).json()

    assert schema["paths"]["/me"]["get"]["security"] == [{"Bearer": []}]
    assert schema["components"]["securitySchemes"]["Bearer"]["scheme"] == "bearer"


# What identity sees


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
    assert len(traces["/auth/changes"]) == identity.asked("/auth/changes")


async def test_the_polls_of_the_feed_do_not_inherit_a_deadline() -> None:
    identity = Identity()

    with trace_context(seconds=0.2):
        async with running(identity, auth_max_staleness_seconds=0.4):
            await asyncio.sleep(0.4)
            polls = identity.asked("/auth/changes")
            await until(lambda: identity.asked("/auth/changes") > polls + 1)


# The service's own tokens


async def test_the_feed_is_polled_with_the_token_of_the_service() -> None:
    identity = Identity()

    async with running(identity):
        pass

    poll = identity.headers[identity.paths.index("/auth/changes")]
    own = identity.answers[poll["Authorization"].removeprefix("Bearer ")]
    assert own["roles"] == ["service"]
    assert identity.asked("/auth/token") == 1


@asynccontextmanager
async def account_at(identity: Identity) -> AsyncIterator[ServiceAccount]:
    account = ServiceAccount(toy_settings(), identity)
    yield account
    await account.aclose()


async def test_service_tokens_are_cached_per_user_until_they_are_forgotten() -> None:
    identity = Identity()
    ada = identity.add_person("documents:read")

    async with account_at(identity) as account:
        own, hers = await account.get_token(), await account.get_token(ada.user_id)
        assert [await account.get_token(), await account.get_token(ada.user_id)] == [own, hers]
        account.forget_token(ada.user_id)
        again = await account.get_token(ada.user_id)

    assert len({own, hers, again}) == 3
    assert identity.answers[again]["actor"] == "toy-service"
    assert identity.asked("/auth/token") == 3


async def test_a_service_token_is_replaced_before_it_expires() -> None:
    short = httpx.Response(200, json={"access_token": "short", "expires_in": 20})
    identity = Identity(odd={"/auth/token": short})

    async with account_at(identity) as account:
        await account.get_token()
        await account.get_token()

    assert identity.asked("/auth/token") == 2


async def test_a_token_for_an_inactive_user_is_forbidden() -> None:
    async with account_at(Identity()) as account:
        with pytest.raises(Forbidden, match="not active"):
            await account.get_token("nobody")


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
