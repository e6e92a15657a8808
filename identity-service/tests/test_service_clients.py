"""Tokens of services: their own, and those to act on behalf of a user."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from .conftest import PASSWORD, Person, bearer, validate

Service = Callable[..., str]
GOOD = {
    "grant_type": "client_credentials",
    "client_id": "workflow-service",
    "client_secret": "development-only-service-secret",
}


def request_token(client: TestClient, **form: str) -> Any:
    return client.post("/api/v1/auth/token", data=GOOD | form)


def test_a_service_gets_a_token_of_its_own(client: TestClient) -> None:
    given = request_token(client).json()

    answer = validate(client, given["access_token"]).json()
    assert (given["token_type"], given["expires_in"]) == ("bearer", 900)
    assert answer["roles"] == ["service"]
    assert answer["permissions"] == ["auth:changes", "auth:delegate", "users:read"]
    assert (answer["email"], answer["actor"]) == (None, None)


def test_a_service_acts_for_a_user_with_the_users_rights(
    client: TestClient, person: Person
) -> None:
    given = request_token(client, on_behalf_of=person.id).json()

    answer = validate(client, given["access_token"]).json()
    own = validate(client, person.access_token).json()
    assert given["expires_in"] == 300
    assert answer["actor"] == "workflow-service"
    for same in ("user_id", "email", "roles", "permissions"):
        assert answer[same] == own[same]


def test_what_a_service_does_for_a_user_is_recorded_with_both(
    client: TestClient, admin: Person, person: Person, service_token: Service
) -> None:
    token = service_token("workflow-service", on_behalf_of=admin.id)

    path = f"/api/v1/users/{person.id}/profile"
    client.patch(path, json={"name": "Grace"}, headers=bearer(token))

    (event,) = admin.request("GET", "/audit-events?limit=1").json()["items"]
    assert event["action"] == "user.updated"
    assert (event["actor_id"], event["acting_service"]) == (admin.id, "workflow-service")


def test_a_token_for_a_user_outlives_their_logout_but_not_their_rights(
    client: TestClient, person: Person, admin: Person, service_token: Service
) -> None:
    token = service_token("workflow-service", on_behalf_of=person.id)

    person.request("POST", "/auth/logout")
    after_logout = validate(client, token)
    admin.request("PUT", f"/users/{person.id}/roles", json={"roles": []})
    without_roles = validate(client, token)
    admin.request("PATCH", f"/users/{person.id}", json={"is_active": False})
    deactivated = validate(client, token)

    assert after_logout.status_code == 200
    assert without_roles.json()["permissions"] == []
    assert deactivated.status_code == 401


def test_me_works_for_a_service_only_on_behalf_of_a_user(
    client: TestClient, person: Person, service_token: Service
) -> None:
    tokens = (
        service_token("workflow-service"),
        service_token("workflow-service", on_behalf_of=person.id),
    )

    itself, acting = (client.get("/auth/me", headers=bearer(token)) for token in tokens)

    assert (itself.status_code, acting.json()["id"]) == (403, person.id)


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_secret": "a guess"},
        {"client_id": "no-such-service"},
        {"client_id": "workflow-service\x20"},
        {"client_id": "admin@example.com", "client_secret": "demo-password-1"},
    ],
)
def test_a_wrong_client_is_refused(client: TestClient, wrong: dict[str, str]) -> None:
    answer = request_token(client, **wrong)

    assert answer.status_code == 401
    assert answer.json()["detail"] == "Wrong client id or secret"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grant_type", "password"),
        ("client_id", ""),
        ("client_id", "\x00"),
        ("client_secret", ""),
        ("client_secret", "x" * 5000),
        ("on_behalf_of", "admin"),
    ],
)
def test_a_token_request_with_invalid_fields_is_rejected(
    client: TestClient, field: str, value: str
) -> None:
    answer = request_token(client, **{field: value})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_unknown_fields_of_a_token_request_are_ignored(client: TestClient) -> None:
    assert request_token(client, scope="everything", audience="content").status_code == 200


def test_a_repeated_field_of_a_token_request_is_refused(client: TestClient) -> None:
    answer = client.post("/api/v1/auth/token", data={**GOOD, "client_secret": ["a", "b"]})

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "client_secret", "message": "must be given once"}]


def test_acting_for_a_user_needs_the_permission_and_an_active_user(
    client: TestClient, person: Person, other: Person, admin: Person
) -> None:
    admin.request("PATCH", f"/users/{other.id}", json={"is_active": False})

    forbidden = request_token(client, client_id="content-service", on_behalf_of=person.id)
    unknown = request_token(client, on_behalf_of=str(uuid4()))
    deactivated = request_token(client, on_behalf_of=other.id)

    assert [a.status_code for a in (forbidden, unknown, deactivated)] == [403, 403, 403]
    assert "auth:delegate" in forbidden.json()["detail"]
    assert unknown.json()["detail"] == deactivated.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/auth/logout", None),
        ("GET", "/auth/sessions", None),
        ("DELETE", "/auth/sessions", None),
        (
            "POST",
            "/auth/change-password",
            {"current_password": PASSWORD, "new_password": "another long password"},
        ),
    ],
)
def test_a_service_has_no_sessions_to_end_nor_a_password(
    client: TestClient, person: Person, service_token: Service, method: str, path: str, body: Any
) -> None:
    for on_behalf_of in (None, person.id):
        headers = bearer(service_token("workflow-service", on_behalf_of))
        answer = client.request(method, f"/api/v1{path}", headers=headers, json=body)
        assert answer.status_code == 403
    assert person.status == 200
    assert person.log_in_again().status == 200


def test_secrets_are_not_stored(sql: Callable[..., list[Any]]) -> None:
    stored = str(sql("SELECT service_clients::text FROM service_clients"))

    assert GOOD["client_secret"] not in stored
    assert GOOD["client_secret"].encode().hex() not in stored
