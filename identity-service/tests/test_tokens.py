"""Nobody gets in: every token but an unexpired one of ours, for somebody still there, is 401."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from jose import jwt

from identity_service import tokens
from identity_service.settings import settings

from .conftest import Person, bearer, validate

KEY = settings.jwt_secret_key.get_secret_value()
NOW = int(datetime.now(UTC).timestamp())


def claims_of(person: Person) -> dict[str, Any]:
    return dict(jwt.get_unverified_claims(person.access_token))


def signed(claims: dict[str, Any], key: str = KEY, algorithm: str = "HS256") -> str:
    return str(jwt.encode(claims, key, algorithm))


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_validate_says_who_it_is_and_what_they_may_do(client: TestClient, somebody: Person) -> None:
    answer = validate(client, somebody.access_token)

    assert answer.status_code == 200
    expected = {
        "valid": True,
        "is_valid": True,
        "user_id": somebody.id,
        "email": somebody.email,
        "roles": ["member"],
        "session_id": somebody.session_id,
        "is_verified": False,
        "actor": None,
    }
    assert answer.json().items() >= expected.items()
    assert "documents:write" in answer.json()["permissions"]
    assert datetime.fromisoformat(answer.json()["expires_at"]) > datetime.now(UTC)


@pytest.mark.parametrize("path", ["/auth/validate", "/api/v1/auth/validate"])
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_the_token_may_come_in_the_body(
    client: TestClient, somebody: Person, path: str, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    body = json.dumps({"token": somebody.access_token})

    answer = client.post(path, content=body, headers=headers)

    assert answer.json()["user_id"] == somebody.id


def test_the_header_wins_over_the_body(client: TestClient, somebody: Person, other: Person) -> None:
    body = {"token": other.access_token}

    good = client.post("/auth/validate", headers=somebody.headers, json=body)
    bad = client.post("/auth/validate", headers=bearer("nonsense"), json=body)

    assert good.json()["user_id"] == somebody.id
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
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_body_without_a_token_is_an_invalid_token(client: TestClient, body: bytes) -> None:
    answer = client.post("/auth/validate", content=body)

    assert answer.status_code == 401
    assert answer.json()["detail"] == "Invalid or expired token"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic YTpi", "bearer a.b.c", "Bearer é", "Bearer a b"]
)
def test_a_header_without_a_token_is_401(client: TestClient, header: str) -> None:
    headers = {"Authorization": header.encode("latin-1")}

    validated = client.post("/auth/validate", headers=headers)  # type: ignore[arg-type]
    protected = client.get("/api/v1/auth/me", headers=headers)  # type: ignore[arg-type]

    assert validated.status_code == protected.status_code == 401
    assert validated.headers["WWW-Authenticate"] == "Bearer"
    assert protected.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "somebody-else"},
        {"aud": "another-platform"},
        {"aud": ["another-platform"]},
        {"type": "refresh"},
        {"type": "service"},
        {"type": "delegated"},
        {"type": ["access"]},
        {"exp": NOW - 1},
        {"exp": "soon"},
        {"nbf": NOW + 3600},
        {"sub": "admin"},
        {"sub": 1},
        {"sub": "00000000-0000-0000-0000-000000000000"},
        {"sid": "00000000-0000-0000-0000-000000000000"},
        {"sid": None},
        {"sid": {"a": "b"}},
    ],
)
def test_a_signed_token_with_a_wrong_claim_is_refused(
    client: TestClient, somebody: Person, wrong: dict[str, Any]
) -> None:
    answer = validate(client, signed(claims_of(somebody) | wrong))

    assert answer.status_code == 401


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "type"])
def test_a_signed_token_must_have_every_claim(
    client: TestClient, somebody: Person, claim: str
) -> None:
    claims = claims_of(somebody)
    del claims[claim]

    assert validate(client, signed(claims)).status_code == 401


def test_a_session_does_not_carry_somebody_elses_name(
    client: TestClient, somebody: Person, other: Person
) -> None:
    assert validate(client, signed(claims_of(somebody) | {"sub": other.id})).status_code == 401


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS384", "RS256", ["HS256"]])
def test_only_the_algorithm_of_the_settings_is_accepted(
    client: TestClient, somebody: Person, algorithm: Any
) -> None:
    _, payload, signature = somebody.access_token.split(".")
    forged = segment({"alg": algorithm, "typ": "JWT"})

    assert validate(client, f"{forged}.{payload}.{signature}").status_code == 401
    assert validate(client, f"{forged}.{payload}.").status_code == 401


def test_a_stronger_algorithm_with_the_right_key_is_refused_too(
    client: TestClient, somebody: Person
) -> None:
    token = signed(claims_of(somebody), algorithm="HS512")

    assert validate(client, token).status_code == 401


@pytest.mark.parametrize("key", ["another key of thirty-two characters", "", " "])
def test_another_key_is_refused(client: TestClient, somebody: Person, key: str) -> None:
    assert validate(client, signed(claims_of(somebody), key or " ")).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256", "kid": "../../../../dev/null"},
        {"alg": "HS256", "jwk": {"kty": "oct", "k": "YQ"}},
        {"alg": "HS256", "jku": "http://localhost/keys"},
    ],
)
def test_a_header_does_not_choose_the_key(
    client: TestClient, somebody: Person, header: dict[str, Any]
) -> None:
    token = jwt.encode(claims_of(somebody), "a", "HS256", headers=header)

    assert validate(client, token).status_code == 401


def test_mangled_tokens_are_refused(client: TestClient, somebody: Person) -> None:
    header, payload, signature = somebody.access_token.split(".")
    mangled = [
        somebody.access_token[:-1],
        somebody.access_token + "A",
        f"{header}.{payload}",
        f"{header}..{signature}",
        f"{header}.{segment({})}.{signature}",
        f"{header}.{segment([])}.{signature}",
        f"{segment([])}.{payload}.{signature}",
        f"{base64.urlsafe_b64encode(b'[' * 2000).decode()}.{payload}.{signature}",
        "." * 1000,
        "A" * 100_000,
    ]

    assert {validate(client, token).status_code for token in mangled} == {401}


def test_a_refresh_token_is_no_access_token(client: TestClient, somebody: Person) -> None:
    assert validate(client, somebody.refresh_token).status_code == 401


def test_an_access_token_is_no_refresh_token(client: TestClient, somebody: Person) -> None:
    body = {"refresh_token": somebody.access_token}

    assert client.post("/auth/refresh", json=body).status_code == 401


def test_rights_are_those_of_now_and_not_those_of_the_login(
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
        assert tokens.digest(token).hex() in stored
