"""Stepping up: sensitive endpoints need a recent proof of identity."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import (
    PASSWORD,
    Person,
)
from .test_second_factors import App, confirm, set_up_app

SQL = Callable[..., list[Any]]


@pytest.fixture
def phone(person: Person) -> App:
    """An app with which the user's second factor is on; two of its codes are still valid."""
    app = set_up_app(person)
    app.recovery_codes = confirm(person, app.next_code()).json()["recovery_codes"]
    return app


def step_up(person: Person, **proof: str) -> int:
    return int(person.request("POST", "/auth/step-up", json=proof).status_code)


@pytest.fixture
def expire_step_up(sql: SQL) -> Callable[[Person], None]:
    def expire(person: Person) -> None:
        ago = "UPDATE sessions SET proved_at = now() - interval '1 hour' WHERE id = :id"
        sql(ago, id=person.session_id)

    return expire


def test_sensitive_endpoints_need_a_recent_step_up(
    person: Person, phone: App, expire_step_up: Callable[[Person], None]
) -> None:
    expire_step_up(person)
    new = {"name": "A robot", "scopes": ["documents:read"]}

    refused = [
        person.request("DELETE", "/auth/mfa/totp"),
        person.request("POST", "/auth/mfa/recovery-codes"),
        person.request("POST", f"/users/{person.id}/api-keys", json=new),
    ]

    for refusal in refused:
        assert refusal.status_code == 401
        assert refusal.json()["code"] == "InsufficientUserAuthentication"
        assert "insufficient_user_authentication" in refusal.headers["WWW-Authenticate"]
    assert person.status == 200  # the token itself is valid
    assert step_up(person, code="000000") == 401
    assert step_up(person, password=PASSWORD) == 401  # a user with a second factor needs the code
    assert step_up(person, code=phone.next_code()) == 204
    assert person.request("POST", f"/users/{person.id}/api-keys", json=new).status_code == 201
    assert person.request("DELETE", "/auth/mfa/totp").status_code == 204


def test_without_a_second_factor_the_step_up_takes_the_password(
    person: Person, expire_step_up: Callable[[Person], None]
) -> None:
    expire_step_up(person)

    assert person.request("POST", "/auth/mfa/totp").status_code == 401
    assert step_up(person, password="not the password") == 403
    assert step_up(person) == 403
    assert step_up(person, password=PASSWORD) == 204
    assert person.request("POST", "/auth/mfa/totp").status_code == 200


def test_a_password_cannot_be_guessed_by_stepping_up(person: Person) -> None:
    assert [step_up(person, password="a wrong guess") for _ in range(5)] == [403] * 5

    answer = person.request("POST", "/auth/step-up", json={"password": PASSWORD})

    assert answer.status_code == 429
    assert answer.json()["detail"].startswith("Too many failed attempts; try again in ")
