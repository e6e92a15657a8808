"""The fake identity service that tests of services use."""

from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

import pytest

from chassis.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from chassis.remote_auth import ServiceAccount, validate_token
from chassis.service_client import ServiceClient
from tools.localdev.fake_identity import FakeIdentity

from .toy import toy_settings


@pytest.fixture
def identity() -> FakeIdentity:
    return FakeIdentity()


@pytest.fixture
async def client(identity: FakeIdentity) -> AsyncIterator[ServiceClient]:
    client = ServiceClient("http://identity", "toy-service", transport=identity)
    yield client
    await client.aclose()


async def feed(client: ServiceClient, **params: Any) -> Any:
    return await client.make_request("GET", "/api/v1/auth/changes", params=params)


async def test_a_person_is_as_the_test_defines_them(
    identity: FakeIdentity, client: ServiceClient
) -> None:
    ada = identity.add_person("documents:read", roles=("editor",), name="Ada")

    user = await validate_token(client, ada.token)
    contact = await client.make_request("GET", f"/api/v1/users/{ada.user_id}/contact")

    assert (user.user_id, user.email, user.roles) == (ada.user_id, ada.email, ("editor",))
    assert user.permissions == {"documents:read"}
    assert contact == {"user_id": ada.user_id, "email": ada.email, "name": "Ada"}
    both = {"user_ids": ["unknown", ada.user_id]}
    assert await client.make_request("POST", "/users/contacts", both) == {"items": [contact]}


async def test_an_unknown_token_user_or_role_is_refused(client: ServiceClient) -> None:
    with pytest.raises(Unauthenticated):
        await validate_token(client, "garbage")
    for path in ("/users/unknown/contact", "/users/unknown/permissions", "/roles/editor"):
        with pytest.raises(NotFound):
            await client.make_request("GET", path)


async def test_roles_and_permissions_are_those_of_the_token(
    identity: FakeIdentity, client: ServiceClient
) -> None:
    ada = identity.add_person("documents:read", roles=("editor",))

    rights = await client.make_request("GET", f"/users/{ada.user_id}/permissions")

    expected = {"roles": ["editor"], "permissions": ["documents:read"]}
    assert rights == {"user_id": ada.user_id, **expected}
    assert await client.make_request("GET", "/roles/editor") == {"name": "editor"}


async def test_a_revoked_person_is_refused_and_appears_on_the_feed(
    identity: FakeIdentity, client: ServiceClient
) -> None:
    ada = identity.add_person()
    before = await feed(client)

    identity.revoke(ada)

    after = await feed(client, after=before["latest"], wait=2)
    assert before == {"latest": 0, "reset": False, "changes": []}
    assert after["latest"] == 1
    assert [change["user_id"] for change in after["changes"]] == [ada.user_id]
    with pytest.raises(Unauthenticated):
        await validate_token(client, ada.token)
    account = ServiceAccount(toy_settings(), identity)
    with pytest.raises(Forbidden):
        await account.get_token(ada.user_id)
    await account.aclose()


async def test_a_poll_waits_no_longer_than_requested(client: ServiceClient) -> None:
    started = monotonic()

    assert (await feed(client, after=0, wait=0.2))["changes"] == []

    assert 0.2 <= monotonic() - started < 0.5


async def test_no_request_succeeds_while_it_is_down(
    identity: FakeIdentity, client: ServiceClient
) -> None:
    ada = identity.add_person()
    identity.is_down = True

    with pytest.raises(Unavailable):
        await validate_token(client, ada.token)
