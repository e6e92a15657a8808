"""Tokens that identity validates once, until the change feed names their user."""

import asyncio
import json
from time import monotonic

import httpx

from .toy_identity import Identity, me, running, until, until_seen


async def test_identity_validates_a_token_once_and_the_user_is_cached() -> None:
    identity = Identity()
    ada = identity.add_person()

    async with running(identity) as client:
        statuses = [await me(client, ada) for _ in range(50)]

    assert statuses == [200] * 50
    assert identity.validations == 1


async def test_requests_that_bring_a_new_token_together_share_one_validation() -> None:
    identity = Identity(slow=0.1)
    ada = identity.add_person()
    bob = identity.add_person()

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
        assert identity.validations == 4  # the newest three were cached

        assert await me(client, people[0]) == 200
        assert identity.validations == 5


async def test_a_revoked_token_is_rejected_at_once() -> None:
    identity = Identity()
    ada = identity.add_person()
    bob = identity.add_person()

    async with running(identity) as client:
        assert [await me(client, ada), await me(client, bob)] == [200, 200]
        identity.revoke(ada)
        revoked_at = monotonic()
        while await me(client, ada) == 200:
            await asyncio.sleep(0.005)

        assert monotonic() - revoked_at < 0.5
        assert await me(client, bob) == 200

    assert identity.validations == 3  # ada's, bob's and ada's again: bob's was cached


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
    ada = identity.add_person()
    bob = identity.add_person()

    async with running(identity) as client:
        assert [await me(client, ada), await me(client, bob)] == [200, 200]
        session_id = identity.answers[ada.token]["session_id"]
        identity.changes += [
            {"seq": 1, "user_id": ada.user_id, "session_id": session_id},
            {"seq": 2, "user_id": bob.user_id, "session_id": None},  # such as other roles
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


async def test_a_response_that_a_change_overtook_is_not_cached() -> None:
    identity = Identity(slow=0.2)
    ada = identity.add_person()

    async with running(identity) as client:
        first = asyncio.create_task(me(client, ada))
        await until(lambda: identity.validations == 1)
        identity.revoke(ada)  # before the response arrives
        await first

        assert await me(client, ada) == 401


async def test_a_request_after_a_change_does_not_share_a_validation_from_before_it() -> None:
    identity = Identity(slow=0.3)
    ada = identity.add_person()

    async with running(identity) as client:
        before = asyncio.create_task(me(client, ada))
        await until(lambda: identity.validations == 1)
        identity.revoke(ada)
        await asyncio.sleep(0.1)  # the change arrived, the first response did not

        assert await me(client, ada) == 401
        await before
