"""Validating tokens; forged ones are in tests/security/test_tokens.py, for every service."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from identity_service.crypto import tokens

from .conftest import Person, bearer, validate

LONE = "key_\ud800"  # a lone surrogate, which JSON can contain
LINKS = ("verify-email", "reset-password")


def test_validate_returns_the_user_and_their_permissions(
    client: TestClient, shared_person: Person
) -> None:
    answer = validate(client, shared_person.access_token)

    assert answer.status_code == 200
    expected = {
        "valid": True,
        "is_valid": True,
        "user_id": shared_person.id,
        "email": shared_person.email,
        "roles": ["member"],
        "session_id": shared_person.session_id,
        "is_verified": False,
        "actor": None,
    }
    assert answer.json().items() >= expected.items()
    assert "documents:write" in answer.json()["permissions"]
    assert datetime.fromisoformat(answer.json()["expires_at"]) > datetime.now(UTC)


@pytest.mark.parametrize("path", ["/auth/validate", "/api/v1/auth/validate"])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_the_token_may_come_in_the_body(
    client: TestClient, shared_person: Person, path: str, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    body = json.dumps({"token": shared_person.access_token})

    answer = client.post(path, content=body, headers=headers)

    assert answer.json()["user_id"] == shared_person.id


def test_the_header_wins_over_the_body(
    client: TestClient, shared_person: Person, other: Person
) -> None:
    body = {"token": other.access_token}

    good = client.post("/auth/validate", headers=shared_person.headers, json=body)
    bad = client.post("/auth/validate", headers=bearer("nonsense"), json=body)

    assert good.json()["user_id"] == shared_person.id
    assert bad.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"token"',
        b"{",
        b"{}",
        b'{"token": null}',
        b'{"token": 1}',
        b'{"token": {"a": []}}',
        b'{"token": "\\u0000"}',
        b'{"token": "\\ud800"}',
        b'{"token": "key_\\ud800"}',
        b'{"token": "key_\\u0000"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_body_without_a_token_is_an_invalid_token(client: TestClient, body: bytes) -> None:
    answer = client.post("/auth/validate", content=body)

    assert answer.status_code == 401
    assert answer.json()["detail"] == "Invalid or expired token"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("refresh", {"refresh_token": LONE}),
        ("verify-email", {"token": LONE}),
        ("reset-password", {"token": LONE, "new_password": "a long enough password"}),
        ("mfa/verify", {"challenge": LONE, "code": "123456"}),
        ("login", {"email": "a@example.com", "password": LONE}),
    ],
)
def test_invalid_unicode_is_rejected_wherever_secrets_are_sent(
    client: TestClient, path: str, body: dict[str, str]
) -> None:
    answer = client.post(f"/auth/{path}", content=json.dumps(body))  # escapes the surrogate

    assert answer.status_code == 422


def test_invalid_unicode_is_an_invalid_link_and_an_invalid_client(client: TestClient) -> None:
    form = "grant_type=client_credentials&client_id=%ED%A0%80&client_secret=%ED%A0%80"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}

    given = client.post("/auth/token", content=form, headers=headers)
    links = [client.get(f"/auth/{path}?token=%ED%A0%80") for path in LINKS]

    assert given.status_code == 401
    assert {answer.status_code for answer in links} == {410}


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "bearer a.b.c",
        "Bearer é",
        "Bearer a b",
        "Bearer key_é",
    ],
)
def test_a_header_without_a_token_is_401(client: TestClient, header: str) -> None:
    headers = {"Authorization": header.encode("latin-1")}

    validated = client.post("/auth/validate", headers=headers)  # type: ignore[arg-type]
    protected = client.get("/api/v1/auth/me", headers=headers)  # type: ignore[arg-type]

    assert validated.status_code == protected.status_code == 401
    assert validated.headers["WWW-Authenticate"] == "Bearer"
    assert protected.headers["WWW-Authenticate"] == "Bearer"


def test_identity_and_other_services_read_the_same_of_two_headers(
    client: TestClient, person: Person, other: Person
) -> None:
    headers = [
        ("Authorization", value)
        for value in ("Basic YTpi", *map(get_authorization, (person, other)))
    ]

    validated = client.post("/auth/validate", headers=headers)
    protected = client.get("/api/v1/auth/me", headers=headers)

    assert validated.json()["email"] == protected.json()["email"] == person.email


def get_authorization(person: Person) -> str:
    return person.headers["Authorization"]


def test_an_access_token_is_not_a_refresh_token(client: TestClient, shared_person: Person) -> None:
    body = {"refresh_token": shared_person.access_token}

    assert client.post("/auth/refresh", json=body).status_code == 401


def test_rights_are_current_and_not_those_at_login(
    client: TestClient, person: Person, admin: Person
) -> None:
    path = f"/users/{person.id}/roles"

    admin.request("PUT", path, json={"roles": ["viewer"]})
    fewer = validate(client, person.access_token).json()
    admin.request("PUT", path, json={"roles": []})
    none = validate(client, person.access_token).json()

    assert fewer["roles"] == ["viewer"]
    assert "documents:write" not in fewer["permissions"]
    assert (none["roles"], none["permissions"]) == ([], [])


def test_a_token_is_rejected_once_it_expires(client: TestClient, shared_person: Person) -> None:
    ids = UUID(shared_person.id), UUID(shared_person.session_id)
    token = tokens.sign_token(tokens.TokenType.ACCESS, *ids, seconds=1)

    assert validate(client, token).status_code == 200
    time.sleep(1.1)
    assert validate(client, token).status_code == 401


def test_a_session_past_its_end_is_over(
    client: TestClient, person: Person, sql: Callable[..., list[Any]]
) -> None:
    sql("UPDATE sessions SET expires_at = now() WHERE user_id = :id", id=person.id)

    assert person.status == 401
    refreshed = client.post("/auth/refresh", json={"refresh_token": person.refresh_token})
    assert refreshed.status_code == 401


def test_no_token_is_stored_readably(
    client: TestClient, person: Person, sql: Callable[..., list[Any]]
) -> None:
    answer = client.post("/auth/refresh", json={"refresh_token": person.refresh_token})
    stored = str(sql("SELECT refresh_tokens::text FROM refresh_tokens"))

    for token in (person.refresh_token, answer.json()["refresh_token"]):
        assert token not in stored
        assert token.encode().hex() not in stored
        assert tokens.compute_digest(token).hex() in stored
