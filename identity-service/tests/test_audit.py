"""The audit trail: it has every action, it cannot be changed, and only auditors read it."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.exc import DBAPIError

from .conftest import PASSWORD, Person, bearer


def test_what_an_administrator_does_is_recorded(admin: Person, person: Person) -> None:
    trace = {"X-Trace-ID": "0123456789abcdef"}
    admin.client.patch(
        f"/api/v1/users/{person.id}", json={"name": "Grace"}, headers=admin.headers | trace
    )

    (event,) = admin.request("GET", "/audit-events?limit=1").json()["items"]

    expected = {
        "action": "user.updated",
        "actor_id": admin.id,
        "subject_id": person.id,
        "ip": "testclient",
        "trace_id": "0123456789abcdef",
        "details": {"fields": ["name"]},
    }
    assert event.items() >= expected.items()


def test_deactivated_and_reactivated_are_told_apart(admin: Person, person: Person) -> None:
    for is_active in (False, True):
        admin.request("PATCH", f"/users/{person.id}", json={"is_active": is_active})

    found = f"/audit-events?subject={person.id}&action=user.updated"
    events = admin.request("GET", found).json()["items"]
    assert [event["details"]["is_active"] for event in events] == [True, False]


@pytest.mark.parametrize("path", ["change-password", "step-up"])
def test_guesses_at_the_current_password_are_recorded(
    admin: Person, person: Person, path: str
) -> None:
    wrong = {"current_password": "a guess", "new_password": "another long password"}
    body = wrong if path == "change-password" else {"password": "a guess"}
    for _ in range(6):
        person.request("POST", f"/auth/{path}", json=body)

    events = admin.request("GET", f"/audit-events?subject={person.id}&limit=6").json()["items"]
    assert [event["action"] for event in events] == ["password.blocked", *["password.failed"] * 5]
    assert {event["actor_id"] for event in events} == {person.id}


def test_a_second_factor_that_is_set_up_is_recorded(admin: Person, person: Person) -> None:
    person.request("POST", "/auth/mfa/totp")

    [event] = admin.request("GET", f"/audit-events?subject={person.id}&limit=1").json()["items"]
    assert (event["action"], event["actor_id"]) == ("second_factor.set_up", person.id)


def test_a_denied_delegation_is_recorded(client: TestClient, admin: Person, person: Person) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": "content-service",
        "client_secret": "development-only-service-secret",
        "on_behalf_of": person.id,
    }
    assert client.post("/auth/token", data=form).status_code == 403

    [event] = admin.request("GET", f"/audit-events?subject={person.id}&limit=1").json()["items"]
    assert event["action"] == "client.delegation_denied"
    assert event["details"]["client_id"] == "content-service"


def test_events_are_listed_page_by_page(admin: Person, new_person: Callable[[], Person]) -> None:
    people = [new_person() for _ in range(2)]  # two events each

    first = admin.request("GET", "/audit-events?limit=3").json()
    second = admin.request("GET", f"/audit-events?limit=1&cursor={first['next_cursor']}").json()

    found = [(event["action"], event["subject_id"]) for event in first["items"] + second["items"]]
    assert found == [
        (action, person.id)
        for person in reversed(people)
        for action in ("login.succeeded", "user.created")
    ]


def test_events_are_filtered_by_actor_subject_action_trace_and_time(
    admin: Person, person: Person
) -> None:
    wrong = {"email": person.email, "password": "not the password"}
    admin.client.post("/auth/login", json=wrong, headers={"X-Trace-ID": "the-trace-of-it"})
    admin.request("PUT", f"/users/{person.id}/roles", json={"roles": ["viewer"]})

    def find_actions(**wanted: str) -> list[str]:
        listed = admin.request("GET", "/audit-events", params={"limit": "100", **wanted})
        assert listed.status_code == 200, listed.text
        return [event["action"] for event in listed.json()["items"]]

    own = ["login.failed", "login.succeeded"]
    assert find_actions(actor=person.id) == own
    assert find_actions(subject=person.id) == ["user.roles_set", *own, "user.created"]
    assert find_actions(subject=person.id, actor=admin.id) == ["user.roles_set"]
    assert find_actions(subject=person.id, action="login.failed") == ["login.failed"]
    assert find_actions(trace_id="the-trace-of-it") == ["login.failed"]
    assert find_actions(subject=person.id, until="2020-01-01T00:00:00Z") == []
    assert len(find_actions(subject=person.id, since="2020-01-01T00:00:00Z")) == 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("actor", "me"),
        ("subject", "1"),
        ("action", "\x00"),
        ("since", "yesterday"),
        ("until", "2020-x"),
    ],
)
def test_an_invalid_filter_is_rejected_and_named(admin: Person, name: str, value: str) -> None:
    answer = admin.request("GET", "/audit-events", params={name: value})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, name)


def test_an_event_of_a_delegated_token_names_the_user_and_the_service(
    client: TestClient, person: Person, service_token: Callable[..., str], admin: Person
) -> None:
    acting = bearer(service_token("workflow-service", person.id))
    path = f"/api/v1/users/{person.id}/profile"
    assert client.patch(path, headers=acting, json={"name": "Grace"}).status_code == 200

    (event,) = admin.request("GET", f"/audit-events?actor={person.id}&limit=1").json()["items"]

    assert (event["actor_id"], event["acting_service"]) == (person.id, "workflow-service")


def test_a_made_up_cursor_is_rejected(admin: Person) -> None:
    answer = admin.request("GET", "/audit-events?cursor=nonsense")

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "cursor"


def test_only_auditors_read_the_audit_trail(
    person: Person, new_person_with: Callable[..., Person]
) -> None:
    auditor = new_person_with("audit:read")

    assert person.request("GET", "/audit-events").status_code == 403
    assert auditor.request("GET", "/audit-events").status_code == 200


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET action = 'nothing'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
    ],
)
def test_the_database_rejects_changes_of_the_audit_trail(
    sql: Callable[..., list[Any]], statement: str
) -> None:
    with pytest.raises(DBAPIError, match="append-only"):
        sql(statement)


def test_the_audit_trail_contains_no_password_and_no_token(
    person: Person, sql: Callable[..., list[Any]]
) -> None:
    change = {"current_password": PASSWORD, "new_password": "another long password"}
    person.request("POST", "/auth/change-password", json=change)

    everything = str(sql("SELECT audit_events::text FROM audit_events"))

    for secret in (*change.values(), person.access_token, person.refresh_token):
        assert secret not in everything
