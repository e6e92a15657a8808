"""Logging in, the logged-in user, and the demo users."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

from fastapi.testclient import TestClient

from .conftest import PASSWORD, Person, log_in

SQL = Callable[..., list[Any]]


def log_in_with(client: TestClient, email: str, password: str) -> Any:
    return client.post("/auth/login", json={"email": email, "password": password})


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


def test_waiting_logins_hold_no_connection(client: TestClient) -> None:
    """More logins at once than there are connections, and all of them get a response."""
    with ThreadPoolExecutor(40) as threads:
        answers = threads.map(
            lambda n: log_in_with(client, f"unknown-{n}@example.com", PASSWORD).status_code,
            range(40),
        )

    assert set(answers) == {401}


def test_waiting_logins_do_not_delay_other_requests(client: TestClient, person: Person) -> None:
    with ThreadPoolExecutor(60) as threads:
        logins = [
            threads.submit(log_in_with, client, f"unknown-{n}@example.com", PASSWORD)
            for n in range(60)
        ]
        body = {"refresh_token": person.refresh_token}
        time.sleep(0.3)
        done_before = sum(login.done() for login in logins)

        answer = client.post("/auth/refresh", json=body)

        assert answer.status_code == 200
        assert sum(login.done() for login in logins) - done_before < 15


def test_me_shows_the_logged_in_user(client: TestClient, person: Person) -> None:
    me = client.get("/auth/me", headers=person.headers).json()

    assert me.items() >= {"id": person.id, "email": person.email, "roles": ["member"]}.items()
    assert "documents:read" in me["permissions"]


def test_authorize_answers_for_one_permission(person: Person, admin: Person) -> None:
    def is_allowed(who: Person, permission: str) -> bool:
        answer = who.request("POST", "/auth/authorize", json={"permission": permission})
        assert answer.json()["permission"] == permission
        return bool(answer.json()["allowed"])

    assert is_allowed(person, "documents:read")
    assert not is_allowed(person, "users:write")
    assert is_allowed(admin, "users:write")


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
