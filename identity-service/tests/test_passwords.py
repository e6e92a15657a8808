"""Passwords: which are accepted, how they are stored, and how outdated hashes are replaced."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import bcrypt
import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from identity_service.crypto.passwords import MAX_WAITING_HASHES

from .conftest import PASSWORD, Person, wait_for

SQL = Callable[..., list[Any]]
AS_SET = "$argon2id$v=19$m=19456,t=2,p=1$"


def get_stored_hash(sql: SQL, person: Person) -> str:
    (row,) = sql("SELECT password_hash FROM users WHERE id = :id", id=person.id)
    return str(row.password_hash)


def test_passwords_are_stored_as_argon2id(person: Person, sql: SQL) -> None:
    assert get_stored_hash(sql, person).startswith(AS_SET)


@pytest.mark.parametrize(
    "old_hash",
    [
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode(),
        PasswordHasher(time_cost=1, memory_cost=8 * 1024).hash(PASSWORD),
    ],
    ids=["bcrypt", "older bcrypt", "weaker argon2id"],
)
def test_a_weaker_hash_is_replaced_at_the_next_login(
    person: Person, sql: SQL, old_hash: str
) -> None:
    sql("UPDATE users SET password_hash = :hash WHERE id = :id", hash=old_hash, id=person.id)

    assert person.log_in_again().status == 200

    assert get_stored_hash(sql, person).startswith(AS_SET)
    assert person.log_in_again().status == 200


def test_a_bcrypt_hash_accepts_only_its_password(
    client: TestClient, person: Person, sql: SQL
) -> None:
    old_hash = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    sql("UPDATE users SET password_hash = :hash WHERE id = :id", hash=old_hash, id=person.id)

    for guess in ("not the password", "x" * 200):
        wrong = {"email": person.email, "password": guess}
        assert client.post("/auth/login", json=wrong).status_code == 401

    assert get_stored_hash(sql, person) == old_hash


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "Password123!",
        "12345678",
        "1234567890!",
        "qwerty123",
        "P@ssw0rd2024",
        "ILOVEYOU!!",
    ],
)
def test_a_common_password_is_rejected(client: TestClient, password: str) -> None:
    new = {"email": f"{uuid4()}@example.com", "password": password, "name": "Ada"}

    answer = client.post("/auth/register", json=new)

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["password"]
    assert password == "password" or password not in answer.text


def test_a_common_password_is_rejected_wherever_one_is_set(person: Person, admin: Person) -> None:
    change = {"current_password": PASSWORD, "new_password": "Password123!"}
    new = {"email": f"{uuid4()}@example.com", "password": "Password123!", "name": "Ada"}

    changed = person.request("POST", "/auth/change-password", json=change)
    created = admin.request("POST", "/users", json=new)

    assert (changed.status_code, changed.json()["errors"][0]["field"]) == (422, "new_password")
    assert (created.status_code, created.json()["errors"][0]["field"]) == (422, "password")


def test_registrations_leave_room_for_logins(client: TestClient, person: Person) -> None:
    """However many there are, registrations use half of the waiting slots."""

    def register() -> int:
        new = {"email": f"{uuid4()}@example.com", "password": PASSWORD, "name": "Ada"}
        return client.post("/auth/register", json=new).status_code

    with ThreadPoolExecutor(MAX_WAITING_HASHES + 10) as threads:
        registrations = [threads.submit(register) for _ in range(MAX_WAITING_HASHES + 10)]
        wait_for(lambda: any(one.done() and one.result() == 503 for one in registrations))

        assert person.log_in_again().status == 200

    assert {one.result() for one in registrations} == {201, 503}
