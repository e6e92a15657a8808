"""Who is there from the start, however often and however many processes start."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi.testclient import TestClient

from identity_service.seed import seed

from .conftest import log_in

SQL = Callable[..., list[Any]]


async def seed_many_at_once() -> None:
    await asyncio.gather(*(seed() for _ in range(5)))


def start_again(client: TestClient) -> None:
    assert client.portal is not None
    client.portal.call(seed_many_at_once)


def test_what_is_missing_is_added_once(client: TestClient, sql: SQL) -> None:
    sql("DELETE FROM users WHERE email = 'outsider@example.com'")
    sql("DELETE FROM service_clients WHERE client_id = 'content-service'")

    start_again(client)

    assert log_in(client, "outsider@example.com", "demo-password-1").status == 200
    assert len(sql("SELECT 1 FROM service_clients")) == 4


def test_starting_again_changes_nothing(client: TestClient, sql: SQL) -> None:
    everything = """
        SELECT users::text FROM users UNION ALL SELECT service_clients::text FROM service_clients
        UNION ALL SELECT changes::text FROM changes ORDER BY 1
    """
    before = sql(everything)

    start_again(client)

    assert sql(everything) == before


def test_a_service_that_is_no_longer_named_is_out(
    client: TestClient, service: Callable[..., str], sql: SQL
) -> None:
    sql("INSERT INTO service_clients VALUES (gen_random_uuid(), 'old', '', '{auth:delegate}')")
    (before,) = sql("SELECT max(seq) FROM changes")

    start_again(client)

    assert sql("SELECT 1 FROM service_clients WHERE client_id = 'old'") == []
    (change,) = sql("SELECT user_id, session_id FROM changes WHERE seq > :seq", seq=before[0] or 0)
    assert tuple(change) == (None, None)
