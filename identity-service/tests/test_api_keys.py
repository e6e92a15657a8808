"""API keys and service accounts: programs log in with them, limited to the keys' scopes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from .conftest import (
    Person,
    bearer,
    separate_connection,
    start_password_reset,
    validate,
    wait_until_blocked,
)
from .test_change_feed import Follower

SQL = Callable[..., list[Any]]
READING = ["documents:read"]


def create_key(owner: Person, user_id: str | None = None, **fields: Any) -> Any:
    new = {"name": "A robot", "scopes": READING, **fields}
    return owner.request("POST", f"/users/{user_id or owner.id}/api-keys", json=new)


@pytest.fixture
def key(person: Person) -> dict[str, Any]:
    answer = create_key(person)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def get_status(client: TestClient, secret: str) -> int:
    return int(validate(client, secret).status_code)


def test_a_key_speaks_for_its_owner_within_its_scopes(
    client: TestClient, person: Person, key: dict[str, Any]
) -> None:
    found = validate(client, key["secret"]).json()

    assert (found["user_id"], found["session_id"]) == (person.id, key["id"])
    assert (found["permissions"], found["roles"]) == (READING, ["member"])
    me = client.get("/auth/me", headers=bearer(key["secret"]))
    assert (me.json()["id"], me.json()["permissions"]) == (person.id, READING)
    asked = client.get("/api/v1/roles", headers=bearer(key["secret"]))
    assert (asked.status_code, asked.json()["detail"]) == (
        403,
        "This needs the permission roles:read",
    )


def test_a_key_that_is_created_during_a_password_reset_does_not_survive_it(person: Person) -> None:
    with separate_connection() as connection, ThreadPoolExecutor(1) as thread:
        start_password_reset(connection, person)
        made = thread.submit(create_key, person)
        wait_until_blocked(connection)
        connection.commit()

        assert made.result().status_code == 401


def test_a_key_is_shown_once_and_stored_nowhere(
    person: Person, key: dict[str, Any], sql: SQL
) -> None:
    listed = person.request("GET", f"/users/{person.id}/api-keys")

    assert listed.json()["items"] == [{n: v for n, v in key.items() if n != "secret"}]
    assert key["secret"].startswith(key["prefix"]) and len(key["secret"]) > 40
    tables = ("api_keys", "audit_events", "idempotency_keys")
    stored = "".join(str(sql(f"SELECT {table}::text FROM {table}")) for table in tables)
    assert key["secret"] not in stored
    assert key["secret"].encode().hex() not in stored


def test_a_key_loses_what_its_owner_loses(
    client: TestClient, person: Person, admin: Person, key: dict[str, Any]
) -> None:
    admin.request("PUT", f"/users/{person.id}/roles", json={"roles": []})

    assert validate(client, key["secret"]).json()["permissions"] == []


def test_a_key_of_an_administrator_has_its_scopes_alone(client: TestClient, admin: Person) -> None:
    narrow = create_key(admin).json()
    wide = create_key(admin, scopes=["*"]).json()

    assert validate(client, narrow["secret"]).json()["permissions"] == READING
    assert validate(client, wide["secret"]).json()["permissions"] == ["*"]


@pytest.mark.parametrize("change", [{"is_active": False}, {"locked_until": "2100-01-01T00:00:00Z"}])
def test_a_key_does_not_work_while_its_owner_is_deactivated_or_locked(
    client: TestClient, person: Person, admin: Person, key: dict[str, Any], change: dict[str, Any]
) -> None:
    admin.request("PATCH", f"/users/{person.id}", json=change)
    assert get_status(client, key["secret"]) == 401

    admin.request("PATCH", f"/users/{person.id}", json={"is_active": True, "locked_until": None})
    assert get_status(client, key["secret"]) == 200


def test_a_key_outlives_sessions_but_not_its_owner(
    client: TestClient, person: Person, admin: Person, key: dict[str, Any]
) -> None:
    person.request("DELETE", "/auth/sessions")
    assert get_status(client, key["secret"]) == 200

    admin.request("DELETE", f"/users/{person.id}")
    assert get_status(client, key["secret"]) == 401


def test_a_key_works_until_it_expires(
    client: TestClient, person: Person, key: dict[str, Any], sql: SQL
) -> None:
    sql("UPDATE api_keys SET expires_at = now() + interval '1 minute' WHERE id = :id", id=key["id"])
    soon = validate(client, key["secret"]).json()["expires_at"]
    listed = person.request("GET", f"/users/{person.id}/api-keys").json()["items"]
    sql("UPDATE api_keys SET expires_at = now() WHERE id = :id", id=key["id"])

    assert soon[:19] == listed[0]["expires_at"][:19]
    assert get_status(client, key["secret"]) == 401


def test_a_rotated_key_has_a_new_secret_only(
    client: TestClient, person: Person, key: dict[str, Any], service_token: Callable[..., str]
) -> None:
    follower = Follower(client, service_token("content-service"))
    follower.read_new_changes()

    rotated = person.request("POST", f"/users/{person.id}/api-keys/{key['id']}/rotate").json()

    assert rotated["id"] == key["id"] and rotated["prefix"] != key["prefix"]
    assert (get_status(client, key["secret"]), get_status(client, rotated["secret"])) == (401, 200)
    assert follower.read_new_changes() == [(person.id, key["id"])]


def test_a_removed_key_is_announced_and_gone(
    client: TestClient, person: Person, key: dict[str, Any], service_token: Callable[..., str]
) -> None:
    follower = Follower(client, service_token("content-service"))
    follower.read_new_changes()
    path = f"/users/{person.id}/api-keys/{key['id']}"

    answers = [person.request("DELETE", path).status_code for _ in range(2)]

    assert answers == [204, 404]
    assert get_status(client, key["secret"]) == 401
    assert follower.read_new_changes() == [(person.id, key["id"])]


def test_it_is_known_when_a_key_was_used(
    client: TestClient, person: Person, key: dict[str, Any]
) -> None:
    assert key["last_used_at"] is None

    validate(client, key["secret"])

    (listed,) = person.request("GET", f"/users/{person.id}/api-keys").json()["items"]
    assert listed["last_used_at"] > listed["created_at"]


def test_a_key_does_not_do_what_only_people_do(
    client: TestClient, admin: Person, person: Person
) -> None:
    headers = bearer(create_key(admin, scopes=["*"]).json()["secret"])
    keys = f"/api/v1/users/{admin.id}/api-keys"
    new = {"name": "Another", "scopes": ["*"]}

    answers = [
        client.post("/auth/logout", headers=headers),
        client.delete("/auth/sessions", headers=headers),
        client.get(keys, headers=headers),
        client.post(keys, headers=headers, json=new),
        client.post("/auth/mfa/totp", headers=headers),
        client.post("/auth/step-up", headers=headers, json={"password": "demo-password-1"}),
    ]

    assert {answer.status_code for answer in answers} == {403}


def test_a_key_of_a_user_with_more_rights_cannot_be_deleted(
    admin: Person, person: Person, key: dict[str, Any], new_person_with: Callable[..., Person]
) -> None:
    theirs = f"/users/{person.id}/api-keys/{key['id']}"
    above = f"/users/{admin.id}/api-keys/{create_key(admin).json()['id']}"
    clerk = new_person_with("users:write")

    assert [clerk.request("DELETE", path).status_code for path in (theirs, above)] == [403, 403]
    assert admin.request("DELETE", theirs).status_code == 204


def test_a_key_cannot_have_rights_its_creator_lacks_nor_be_for_another_person(
    person: Person, other: Person, admin: Person
) -> None:
    assert create_key(person, scopes=["users:write"]).status_code == 403
    assert create_key(person, other.id).status_code == 403
    assert create_key(admin, other.id).status_code == 403
    assert create_key(admin, str(uuid4())).status_code == 404


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scopes", []),
        ("scopes", ["nonsense"]),
        ("name", ""),
        ("name", "a\nb"),
        ("expires_at", "2020-01-01T00:00:00Z"),
        ("expires_at", "tomorrow"),
        ("secret", "one of my own"),
    ],
)
def test_a_key_with_invalid_fields_is_rejected(
    shared_person: Person, field: str, value: Any
) -> None:
    answer = create_key(shared_person, **{field: value})

    assert (answer.status_code, answer.json()["errors"][0]["field"].split(".")[0]) == (422, field)


def test_the_number_of_keys_per_account_is_limited(
    person: Person, key: dict[str, Any], sql: SQL
) -> None:
    sql(
        "INSERT INTO api_keys (id, user_id, name, prefix, digest, scopes, created_at)"
        " SELECT gen_random_uuid(), :id, 'n', 'p', sha256(gen_random_uuid()::text::bytea),"
        " '{}', now() FROM generate_series(1, 49)",
        id=person.id,
    )

    assert (create_key(person).status_code, create_key(person).json()["code"]) == (
        409,
        "TooManyApiKeys",
    )


@pytest.mark.parametrize("made_up", ["key_", "key_x", "key_" + "A" * 43, "key_\x00", "key_é"])
def test_a_made_up_key_is_refused(client: TestClient, made_up: str) -> None:
    assert client.post("/auth/validate", json={"token": made_up}).status_code == 401


def test_a_service_account_has_keys_and_no_password(
    client: TestClient, admin: Person, person: Person
) -> None:
    new = {"name": "Nightly import", "roles": ["viewer"]}
    account = admin.request("POST", "/service-accounts", json=new).json()

    key = create_key(admin, account["id"]).json()

    found = validate(client, key["secret"]).json()
    assert (found["user_id"], found["roles"]) == (account["id"], ["viewer"])
    assert account["is_service_account"] is True
    admin.request("PATCH", f"/users/{account['id']}", json={"is_active": False})
    assert get_status(client, key["secret"]) == 401
    assert person.request("POST", "/service-accounts", json=new).status_code == 403
