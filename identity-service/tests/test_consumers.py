"""Replays what other services declare to use of identity; a failure names whom a change breaks."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tools.localdev.consumer_contracts import EVERY_SERVICE, Use, list_uses, replay

from .conftest import Person, bearer


@pytest.mark.parametrize("use", list_uses("identity"), ids=str)
def test_a_consumer_gets_what_it_reads(
    use: Use, client: TestClient, shared_person: Person, service_token: Callable[..., str]
) -> None:
    consumer = "workflow" if use.consumer == EVERY_SERVICE else use.consumer
    client_id = f"{consumer}-service"
    values = {
        "user_id": shared_person.id,
        "user_ids": [shared_person.id],
        "name": "member",
        "role": "member",
        "limit": 50,
        "after": 0,
        "wait": 0,
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": "development-only-service-secret",
        "on_behalf_of": shared_person.id,
    }

    caller = TestClient(client.app, headers=bearer(service_token(client_id)))
    caller.portal = client.portal

    replay(use, caller, values)
