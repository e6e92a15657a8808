"""Registering: what is accepted, and what a response reveals."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from identity_service.database import engine

from .conftest import PASSWORD, Mailboxes, Person, log_in, wait_for
from .test_login import log_in_with

JSON = {"Content-Type": "application/json"}


SQL = Callable[..., list[Any]]


def registration(**fields: Any) -> dict[str, Any]:
    new = {"email": f"{uuid4()}@example.com", "password": PASSWORD, "name": "Ada Lovelace"}
    return new | fields


def register(client: TestClient, **fields: Any) -> Any:
    return client.post("/api/v1/auth/register", json=registration(**fields))


def test_register_answers_the_new_account_without_its_password(client: TestClient) -> None:
    new = registration()

    answer = client.post("/api/v1/auth/register", json=new)

    assert answer.status_code == 201
    expected = {"email": new["email"], "name": "Ada Lovelace", "roles": ["member"]}
    assert answer.json().items() >= {**expected, "is_verified": False}.items()
    assert PASSWORD not in answer.text
    assert "argon2" not in answer.text


def test_an_address_is_taken_once_however_it_is_written(
    client: TestClient, mailboxes: Mailboxes
) -> None:
    """The response does not reveal that it is taken; the owner gets an email and nothing else."""
    name = uuid4().hex

    first = register(client, email=f"{name}@example.com")
    second = register(client, email=f"{name.upper()}@EXAMPLE.com", password="another phrase of it")

    assert (first.status_code, second.status_code) == (201, 201)
    same = first.json() | {"id": second.json()["id"], "created_at": second.json()["created_at"]}
    assert second.json() == same
    assert first.json()["id"] != second.json()["id"]
    assert log_in(client, f"{name}@example.com").id == first.json()["id"]
    assert log_in_with(client, f"{name}@example.com", "another phrase of it").status_code == 401
    wait_for(lambda: mailboxes.find_emails(first.json()["id"], "You already have an account"))


def test_the_time_of_a_registration_does_not_reveal_whether_an_address_is_taken(
    client: TestClient, person: Person
) -> None:
    def measure_seconds(email: str) -> float:
        started = time.perf_counter()
        assert register(client, email=email).status_code == 201
        return time.perf_counter() - started

    taken: list[float] = []
    free: list[float] = []

    def measure_difference() -> float:
        """Compare the medians of all registrations so far, which take turns."""
        for _ in range(25):
            taken.append(measure_seconds(person.email))
            free.append(measure_seconds(f"{uuid4()}@example.com"))
        return abs(median(taken) - median(free))

    # Other load of the machine evens out over time; a revealing difference would not.
    assert any(measure_difference() < 0.010 for _ in range(5))


def test_an_address_registered_many_times_at_once_is_one_account(
    client: TestClient, sql: SQL
) -> None:
    new = registration()

    with ThreadPoolExecutor(8) as threads:
        answers = threads.map(
            lambda _: client.post("/api/v1/auth/register", json=new).status_code, range(8)
        )

    assert set(answers) == {201}
    assert len(sql("SELECT 1 FROM users WHERE email = :email", email=new["email"])) == 1


def test_the_same_key_registers_once_and_answers_twice(client: TestClient) -> None:
    new = registration()
    headers = {"Idempotency-Key": str(uuid4())}

    first = client.post("/api/v1/auth/register", json=new, headers=headers)
    second = client.post("/api/v1/auth/register", json=new, headers=headers)

    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    "email",
    [
        "",
        "unknown",
        "@example.com",
        "a@b",
        "a b@example.com",
        "a@example.com\nBcc: b@example.com",
        "a@example.com\x00",
        "аdmin@example.com",  # noqa: RUF001 - a Cyrillic letter
        "\u212aarl@example.com",
        "a@[127.0.0.1]",
        f"{'a' * 250}@example.com",
        None,
        1,
        ["a@example.com"],
    ],
)
def test_an_invalid_address_is_rejected_and_named(client: TestClient, email: Any) -> None:
    for answer in (register(client, email=email), log_in_with(client, email, PASSWORD)):
        assert answer.status_code == 422
        assert {error["field"] for error in answer.json()["errors"]} == {"email"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("password", "short"),
        ("password", "x" * 129),
        ("password", "with\x00inside"),
        ("password", "with\ud800inside"),
        ("name", ""),
        ("name", "   "),
        ("name", "x" * 101),
        ("name", "Ada\nBcc: eve@example.com"),
        ("name", "Ada\x00"),
        ("roles", ["admin"]),
        ("is_verified", True),
        ("is_active", True),
        ("permissions", ["*"]),
        ("id", "00000000-0000-4000-8000-000000000000"),
    ],
)
def test_register_rejects_and_names_invalid_fields(
    client: TestClient, field: str, value: Any
) -> None:
    body = json.dumps(registration(**{field: value}))  # escapes lone surrogates

    answer = client.post("/api/v1/auth/register", content=body, headers=JSON)

    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {field}


@pytest.mark.parametrize("path", ["/auth/register", "/users"])
def test_a_registration_with_an_idempotency_key_holds_no_connection_while_it_waits(
    client: TestClient, admin: Person, path: str
) -> None:
    """Otherwise validation, which uses the same pool, would wait too."""

    def send() -> int:
        headers = {**admin.headers, "Idempotency-Key": str(uuid4())}
        return client.post(f"/api/v1{path}", json=registration(), headers=headers).status_code

    held = []
    with ThreadPoolExecutor(40) as threads:
        requests = [threads.submit(send) for _ in range(40)]
        while not all(one.done() for one in requests):
            held.append(engine.sync_engine.pool.checkedout())  # type: ignore[attr-defined]
            time.sleep(0.01)

    assert {one.result() for one in requests} == {201}
    assert median(held) < 10  # of 30; all would be held if each were kept while hashing
