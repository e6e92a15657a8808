"""Registering and logging in."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from identity_service.database import engine

from .conftest import PASSWORD, Mailboxes, Person, eventually, log_in

JSON = {"Content-Type": "application/json"}
SQL = Callable[..., list[Any]]


def registration(**fields: Any) -> dict[str, Any]:
    new = {"email": f"{uuid4()}@example.com", "password": PASSWORD, "name": "Ada Lovelace"}
    return new | fields


def register(client: TestClient, **fields: Any) -> Any:
    return client.post("/api/v1/auth/register", json=registration(**fields))


def log_in_with(client: TestClient, email: str, password: str) -> Any:
    return client.post("/auth/login", json={"email": email, "password": password})


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
    """Who asks does not learn that it is taken; whose it is does, and nothing changes for them."""
    name = uuid4().hex

    first = register(client, email=f"{name}@example.com")
    second = register(client, email=f"{name.upper()}@EXAMPLE.com", password="another phrase of it")

    assert (first.status_code, second.status_code) == (201, 201)
    same = first.json() | {"id": second.json()["id"], "created_at": second.json()["created_at"]}
    assert second.json() == same
    assert first.json()["id"] != second.json()["id"]
    assert log_in(client, f"{name}@example.com").id == first.json()["id"]
    assert log_in_with(client, f"{name}@example.com", "another phrase of it").status_code == 401
    eventually(lambda: mailboxes.of(first.json()["id"], "You already have an account"))


def test_who_registers_does_not_learn_from_the_time_it_takes_whether_an_address_is_taken(
    client: TestClient, person: Person
) -> None:
    def seconds(email: str) -> float:
        started = time.perf_counter()
        assert register(client, email=email).status_code == 201
        return time.perf_counter() - started

    taken: list[float] = []
    free: list[float] = []

    def difference() -> float:
        """Between the medians of all so far, taken in turns."""
        for _ in range(25):
            taken.append(seconds(person.email))
            free.append(seconds(f"{uuid4()}@example.com"))
        return abs(median(taken) - median(free))

    # What else the machine does evens out with more of them; what gives an address away does not.
    assert any(difference() < 0.010 for _ in range(5))


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
    new, headers = registration(), {"Idempotency-Key": str(uuid4())}

    first = client.post("/api/v1/auth/register", json=new, headers=headers)
    second = client.post("/api/v1/auth/register", json=new, headers=headers)

    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    "email",
    [
        "",
        "nobody",
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
def test_what_is_no_address_is_refused_by_name(client: TestClient, email: Any) -> None:
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
def test_register_refuses_by_name_what_it_does_not_take(
    client: TestClient, field: str, value: Any
) -> None:
    body = json.dumps(registration(**{field: value}))  # escapes what UTF-8 cannot carry

    answer = client.post("/api/v1/auth/register", content=body, headers=JSON)

    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {field}


def test_wrong_password_unknown_address_and_deactivated_account_look_the_same(
    client: TestClient, person: Person, other: Person, admin: Person
) -> None:
    admin.request("PATCH", f"/users/{other.id}", json={"is_active": False})

    wrong = log_in_with(client, person.email, "not the password")
    unknown = log_in_with(client, f"{uuid4()}@example.com", PASSWORD)
    deactivated = log_in_with(client, other.email, PASSWORD)

    for answer in (wrong, unknown, deactivated):
        assert answer.status_code == 401
        assert answer.json()["detail"] == "Wrong email or password"
        assert answer.json()["code"] == "WrongCredentials"


def test_a_failed_login_is_recorded(client: TestClient, person: Person, sql: SQL) -> None:
    log_in_with(client, person.email, "not the password")

    events = sql(
        "SELECT action, actor_id, ip, trace_id FROM audit_events WHERE subject_id = :id"
        " ORDER BY id DESC LIMIT 1",
        id=person.id,
    )
    assert events[0][:3] == ("login.failed", UUID(person.id), "testclient")
    assert events[0].trace_id


def test_logins_that_wait_for_a_thread_hold_no_connection(client: TestClient) -> None:
    """More logins at once than there are connections, and all of them are answered."""
    with ThreadPoolExecutor(40) as threads:
        answers = threads.map(
            lambda n: log_in_with(client, f"nobody-{n}@example.com", PASSWORD).status_code,
            range(40),
        )

    assert set(answers) == {401}


@pytest.mark.parametrize("path", ["/auth/register", "/users"])
def test_whoever_comes_with_a_key_and_waits_for_a_thread_holds_no_connection(
    client: TestClient, admin: Person, path: str
) -> None:
    """Or validation, for which there are the same connections, would wait with them."""

    def come() -> int:
        headers = {**admin.headers, "Idempotency-Key": str(uuid4())}
        return client.post(f"/api/v1{path}", json=registration(), headers=headers).status_code

    held = []
    with ThreadPoolExecutor(40) as threads:
        coming = [threads.submit(come) for _ in range(40)]
        while not all(one.done() for one in coming):
            held.append(engine.sync_engine.pool.checkedout())  # type: ignore[attr-defined]
            time.sleep(0.01)

    assert {one.result() for one in coming} == {201}
    assert median(held) < 10  # of 30: all of them, were they kept for as long as the hashes take


def test_logins_that_wait_for_a_thread_hold_up_nobody_else(
    client: TestClient, person: Person
) -> None:
    with ThreadPoolExecutor(60) as threads:
        logins = [
            threads.submit(log_in_with, client, f"nobody-{n}@example.com", PASSWORD)
            for n in range(60)
        ]
        body = {"refresh_token": person.refresh_token}
        time.sleep(0.3)
        done_before = sum(login.done() for login in logins)

        answer = client.post("/auth/refresh", json=body)

        assert answer.status_code == 200
        assert sum(login.done() for login in logins) - done_before < 15


def test_me_is_who_is_logged_in(client: TestClient, person: Person) -> None:
    me = client.get("/auth/me", headers=person.headers).json()

    assert me.items() >= {"id": person.id, "email": person.email, "roles": ["member"]}.items()
    assert "documents:read" in me["permissions"]


def test_authorize_answers_for_one_permission(person: Person, admin: Person) -> None:
    def allowed(who: Person, permission: str) -> bool:
        answer = who.request("POST", "/auth/authorize", json={"permission": permission})
        assert answer.json()["permission"] == permission
        return bool(answer.json()["allowed"])

    assert allowed(person, "documents:read")
    assert not allowed(person, "users:write")
    assert allowed(admin, "users:write")


def test_the_demo_people_can_log_in(client: TestClient) -> None:
    people = {
        "admin@example.com": "admin",
        "editor@example.com": "editor",
        "reviewer@example.com": "member",
        "viewer@example.com": "viewer",
        "outsider@example.com": "guest",
    }

    for email, role in people.items():
        found = log_in(client, email, "demo-password-1").request("GET", "/auth/me").json()
        assert (found["roles"], found["is_verified"]) == ([role], True)
