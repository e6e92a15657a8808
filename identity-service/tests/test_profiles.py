"""Profiles, as users change their own."""

from typing import Any

import pytest

from .conftest import Person


def test_users_change_their_own_profile(person: Person) -> None:
    changes = {
        "name": " Grace Hopper ",
        "phone": "+491701234567",
        "push_tokens": ["a", "b"],
        "locale": "de-DE",
        "timezone": "Europe/Berlin",
    }

    answer = person.request("PATCH", f"/users/{person.id}/profile", json=changes)
    contact = person.request("GET", f"/users/{person.id}/contact").json()

    assert answer.status_code == 200
    assert contact.items() >= {**changes, "name": "Grace Hopper", "email": person.email}.items()


def test_fields_left_out_of_a_patch_keep_their_value(person: Person) -> None:
    path = f"/users/{person.id}/profile"
    person.request("PATCH", path, json={"phone": "+491701234567", "locale": "de"})

    kept = person.request("PATCH", path, json={"name": "Grace"}).json()
    removed = person.request("PATCH", path, json={"phone": None}).json()

    assert (kept["phone"], kept["locale"]) == ("+491701234567", "de")
    assert (removed["phone"], removed["name"]) == (None, "Grace")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", "Ada\r\nX: y"),
        ("phone", "call me"),
        ("phone", "+" + "1" * 40),
        ("push_tokens", ["a\x00"]),
        ("push_tokens", [""] * 2),
        ("push_tokens", ["a"] * 21),
        ("locale", "../etc"),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../../etc/passwd"),
        ("email", "new@example.com"),
        ("is_verified", True),
        ("roles", ["admin"]),
        ("password_hash", "x"),
        ("id", "00000000-0000-4000-8000-000000000000"),
    ],
)
def test_a_profile_with_invalid_fields_is_rejected(
    shared_person: Person, field: str, value: Any
) -> None:
    answer = shared_person.request(
        "PATCH", f"/users/{shared_person.id}/profile", json={field: value}
    )

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].split(".")[0] == field
