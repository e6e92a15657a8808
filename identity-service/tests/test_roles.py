"""Roles: made, changed and deleted, with effect on everybody who has them, at once."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from .conftest import Person, validate


def permissions(client: TestClient, person: Person) -> list[str]:
    found: list[str] = validate(client, person.access_token).json()["permissions"]
    return found


def test_the_platforms_roles_are_there(admin: Person) -> None:
    listed = admin.request("GET", "/roles?limit=100").json()["items"]

    system = {role["name"]: role["permissions"] for role in listed if role["is_system"]}
    assert system.keys() == {"admin", "editor", "member", "viewer", "guest"}
    assert (system["admin"], system["guest"]) == (["*"], [])


def test_a_changed_role_is_felt_without_a_new_login(
    client: TestClient, admin: Person, with_rights: Callable[..., Person]
) -> None:
    person = with_rights("documents:read")
    (role,) = person.request("GET", "/auth/me").json()["roles"]

    changed = admin.request("PATCH", f"/roles/{role}", json={"permissions": ["ai:use"]})
    described = admin.request("PATCH", f"/roles/{role}", json={"description": "Thinks"})

    assert changed.json()["permissions"] == described.json()["permissions"] == ["ai:use"]
    assert admin.request("GET", f"/roles/{role}").json() == described.json()
    assert permissions(client, person) == ["ai:use"]


def test_a_deleted_role_is_taken_from_everybody(
    client: TestClient, admin: Person, with_rights: Callable[..., Person]
) -> None:
    person = with_rights("documents:read")
    (role,) = person.request("GET", "/auth/me").json()["roles"]

    assert admin.request("DELETE", f"/roles/{role}").status_code == 204

    assert permissions(client, person) == []
    assert admin.request("GET", f"/roles/{role}").status_code == 404
    assert admin.request("DELETE", f"/roles/{role}").status_code == 404


def test_a_role_is_made_once(admin: Person, new_role: Callable[..., str]) -> None:
    name = new_role("documents:read")

    again = admin.request("POST", "/roles", json={"name": name, "permissions": []})

    assert (again.status_code, again.json()["code"]) == (409, "DuplicateRole")


@pytest.mark.parametrize("name", ["admin", "member"])
def test_system_roles_stay(admin: Person, name: str) -> None:
    changed = admin.request("PATCH", f"/roles/{name}", json={"permissions": []})
    deleted = admin.request("DELETE", f"/roles/{name}")

    assert (changed.status_code, deleted.status_code) == (409, 409)
    assert changed.json()["code"] == "SystemRole"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "service"),
        ("name", "Has Spaces"),
        ("name", "a" * 51),
        ("permissions", ["documents"]),
        ("permissions", ["documents:*"]),
        ("permissions", ["documents:read\x00"]),
        ("permissions", "documents:read"),
        ("description", "\x00"),
        ("description", "x" * 501),
        ("is_system", True),
    ],
)
def test_a_role_takes_nothing_else(admin: Person, field: str, value: Any) -> None:
    new = {"name": "never-made", "permissions": [], field: value}

    answer = admin.request("POST", "/roles", json=new)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].split(".")[0] == field


def test_roles_are_for_administrators(person: Person) -> None:
    answers = [
        person.request("GET", "/roles"),
        person.request("GET", "/roles/member"),
        person.request("POST", "/roles", json={"name": "mine", "permissions": []}),
        person.request("PATCH", "/roles/member", json={"permissions": ["*"]}),
        person.request("DELETE", "/roles/member"),
    ]

    assert {answer.status_code for answer in answers} == {403}
