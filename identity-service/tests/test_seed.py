"""What exists from the start, also when several processes start at once, and repeatedly."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from fastapi.testclient import TestClient
from pydantic import SecretStr

from identity_service.seed import seed
from identity_service.settings import Settings, settings

from .conftest import Person, log_in

SQL = Callable[..., list[Any]]
DEMO_ADMIN = """
INSERT INTO user_roles SELECT id, 'admin' FROM users WHERE email = 'admin@example.com'
"""


async def seed_many_at_once(settings: Settings) -> None:
    await asyncio.gather(*(seed(settings) for _ in range(5)))


def restart(client: TestClient, settings: Settings = settings) -> None:
    assert client.portal is not None
    client.portal.call(seed_many_at_once, settings)


def with_first_admin(email: str) -> Settings:
    """Return settings that name the first administrator."""
    password = SecretStr("a first, long password")
    return settings.model_copy(
        update={"first_admin_email": email, "first_admin_password": password}
    )


def test_missing_users_and_services_are_added_once(client: TestClient, sql: SQL) -> None:
    sql("DELETE FROM users WHERE email = 'outsider@example.com'")
    sql("DELETE FROM service_clients WHERE client_id = 'content-service'")

    restart(client)

    assert log_in(client, "outsider@example.com", "demo-password-1").status == 200
    assert len(sql("SELECT 1 FROM service_clients")) == 4


def test_starting_again_changes_nothing(client: TestClient, sql: SQL) -> None:
    everything = """
        SELECT users::text FROM users UNION ALL SELECT service_clients::text FROM service_clients
        UNION ALL SELECT changes::text FROM changes ORDER BY 1
    """
    before = sql(everything)

    restart(client)

    assert sql(everything) == before


def test_a_service_that_is_no_longer_listed_is_deleted(
    client: TestClient, service_token: Callable[..., str], sql: SQL
) -> None:
    sql("INSERT INTO service_clients VALUES (gen_random_uuid(), 'old', '', '{auth:delegate}')")
    (before,) = sql("SELECT max(seq) FROM changes")

    restart(client)

    assert sql("SELECT 1 FROM service_clients WHERE client_id = 'old'") == []
    (change,) = sql("SELECT user_id, session_id FROM changes WHERE seq > :seq", seq=before[0] or 0)
    assert tuple(change) == (None, None)


def test_the_settings_create_the_first_administrator_and_no_second(
    client: TestClient, sql: SQL
) -> None:
    email = f"{uuid4()}@example.com"
    named = with_first_admin(email)
    restart(client, named)
    assert sql("SELECT 1 FROM users WHERE email = :email", email=email) == []

    sql("DELETE FROM user_roles WHERE role_name = 'admin'")
    restart(client, named)

    sql(DEMO_ADMIN)
    first = log_in(client, email, "a first, long password")
    assert first.request("GET", "/auth/me").json()["roles"] == ["admin"]
    assert first.request("DELETE", f"/users/{first.id}").status_code == 204


def test_an_existing_user_becomes_the_first_administrator(
    client: TestClient, person: Person, sql: SQL
) -> None:
    sql("DELETE FROM user_roles WHERE role_name = 'admin'")

    restart(client, with_first_admin(person.email))

    sql(DEMO_ADMIN)
    assert person.log_in_again().request("GET", "/auth/me").json()["roles"] == ["admin"]
    assert person.request("DELETE", f"/users/{person.id}").status_code == 204
