"""Roles: creating, changing, deleting and inheriting, with immediate effect for their users."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from .conftest import Person, validate


def get_permissions(client: TestClient, person: Person) -> list[str]:
    found: list[str] = validate(client, person.access_token).json()["permissions"]
    return found


def test_the_system_roles_exist(admin: Person) -> None:
    listed = admin.request("GET", "/roles?limit=100").json()["items"]

    system = {role["name"]: role["permissions"] for role in listed if role["is_system"]}
    assert system.keys() == {"admin", "editor", "member", "viewer", "guest"}
    assert (system["admin"], system["guest"]) == (["*"], [])


def test_a_changed_role_takes_effect_without_a_new_login(
    client: TestClient, admin: Person, new_person_with: Callable[..., Person]
) -> None:
    person = new_person_with("documents:read")
    (role,) = person.request("GET", "/auth/me").json()["roles"]

    changed = admin.request("PATCH", f"/roles/{role}", json={"permissions": ["ai:use"]})
    described = admin.request("PATCH", f"/roles/{role}", json={"description": "Thinks"})

    assert changed.json()["permissions"] == described.json()["permissions"] == ["ai:use"]
    assert admin.request("GET", f"/roles/{role}").json() == described.json()
    assert get_permissions(client, person) == ["ai:use"]


def test_a_deleted_role_is_taken_from_all_users(
    client: TestClient, admin: Person, new_person_with: Callable[..., Person]
) -> None:
    person = new_person_with("documents:read")
    (role,) = person.request("GET", "/auth/me").json()["roles"]

    assert admin.request("DELETE", f"/roles/{role}").status_code == 204

    assert get_permissions(client, person) == []
    assert admin.request("GET", f"/roles/{role}").status_code == 404
    assert admin.request("DELETE", f"/roles/{role}").status_code == 404


def test_the_name_of_a_role_is_unique(admin: Person, new_role: Callable[..., str]) -> None:
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
def test_a_role_with_invalid_fields_is_rejected(admin: Person, field: str, value: Any) -> None:
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


@pytest.fixture
def new_inheriting_role(admin: Person, new_role: Callable[..., str]) -> Callable[..., str]:
    """Create a role that inherits from others."""

    def create(*parents: str, permissions: tuple[str, ...] = ()) -> str:
        name = new_role(*permissions)
        answer = admin.request("PATCH", f"/roles/{name}", json={"inherits": list(parents)})
        assert answer.status_code == 200, answer.text
        return name

    return create


def assign_roles(admin: Person, person: Person, *roles: str) -> None:
    answer = admin.request("PUT", f"/users/{person.id}/roles", json={"roles": list(roles)})
    assert answer.status_code == 200, answer.text


def test_a_role_has_directly_and_indirectly_inherited_permissions(
    client: TestClient,
    admin: Person,
    person: Person,
    new_role: Callable[..., str],
    new_inheriting_role: Callable[..., str],
) -> None:
    lowest = new_role("documents:read")
    middle = new_inheriting_role(lowest, permissions=("ai:use",))
    highest = new_inheriting_role(middle, "guest", permissions=("workflows:read",))
    assign_roles(admin, person, highest)
    assert get_permissions(client, person) == ["ai:use", "documents:read", "workflows:read"]

    admin.request("PATCH", f"/roles/{lowest}", json={"permissions": ["templates:read"]})
    assert get_permissions(client, person) == ["ai:use", "templates:read", "workflows:read"]

    admin.request("DELETE", f"/roles/{middle}")
    assert get_permissions(client, person) == ["workflows:read"]
    shown = admin.request("GET", f"/roles/{highest}").json()
    assert (shown["inherits"], shown["effective_permissions"]) == (["guest"], ["workflows:read"])


def test_a_role_cannot_inherit_in_a_cycle_or_from_an_unknown_role(
    admin: Person, new_role: Callable[..., str], new_inheriting_role: Callable[..., str]
) -> None:
    lowest = new_role()
    highest = new_inheriting_role(new_inheriting_role(lowest))

    circle = admin.request("PATCH", f"/roles/{lowest}", json={"inherits": [highest]})
    itself = admin.request("PATCH", f"/roles/{lowest}", json={"inherits": [lowest]})
    unknown = admin.request("PATCH", f"/roles/{lowest}", json={"inherits": ["no-such-role"]})

    for answer in (circle, itself, unknown):
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == "inherits"
    assert admin.request("GET", f"/roles/{lowest}").json()["inherits"] == []


def test_a_role_cannot_inherit_rights_its_creator_lacks(
    new_person_with: Callable[..., Person],
) -> None:
    clerk = new_person_with("roles:write", "roles:read")
    new = {"name": "sneaky", "permissions": [], "inherits": ["admin"]}

    assert clerk.request("POST", "/roles", json=new).status_code == 403
    assert clerk.request("GET", "/roles/sneaky").status_code == 404


def test_parallel_changes_of_roles_all_take_effect(
    admin: Person, new_role: Callable[..., str], new_inheriting_role: Callable[..., str]
) -> None:
    parents = [new_role("documents:read") for _ in range(4)]
    child = new_inheriting_role(*parents)
    new = ["ai:use", "workflows:read", "templates:read", "definitions:read"]

    with ThreadPoolExecutor(4) as threads:
        for parent, permission in zip(parents, new, strict=True):
            body = {"permissions": [permission]}
            threads.submit(admin.request, "PATCH", f"/roles/{parent}", json=body)

    shown = admin.request("GET", f"/roles/{child}").json()
    assert shown["effective_permissions"] == sorted(new)


@pytest.fixture
def only_admin(admin: Person, sql: Callable[..., list[Any]]) -> Person:
    """Remove the administrators that other tests have created."""
    sql("DELETE FROM user_roles WHERE role_name = 'admin' AND user_id <> :id", id=admin.id)
    return admin


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/users/{id}/roles", {"roles": ["member"]}),
        ("PATCH", "/users/{id}", {"is_active": False}),
        ("PATCH", "/users/{id}", {"locked_until": "2100-01-01T00:00:00Z"}),
        ("DELETE", "/users/{id}", None),
    ],
)
def test_the_last_administrator_stays(
    only_admin: Person, method: str, path: str, body: Any
) -> None:
    answer = only_admin.request(method, path.format(id=only_admin.id), json=body)

    assert (answer.status_code, answer.json()["code"]) == (409, "LastAdministrator")
    assert only_admin.request("GET", "/roles").status_code == 200


@pytest.mark.parametrize("inherits", [False, True])
@pytest.mark.parametrize(
    ("method", "body"), [("PATCH", {"permissions": [], "inherits": []}), ("DELETE", None)]
)
def test_the_role_that_makes_the_last_administrator_stays(
    admin: Person,
    person: Person,
    new_role: Callable[..., str],
    new_inheriting_role: Callable[..., str],
    sql: Callable[..., list[Any]],
    inherits: bool,
    method: str,
    body: Any,
) -> None:
    role = new_inheriting_role("admin") if inherits else new_role("*")
    assign_roles(admin, person, role)
    others = sql("DELETE FROM user_roles WHERE role_name = 'admin' RETURNING user_id")

    answer = person.request(method, f"/roles/{role}", json=body)
    still = person.request("GET", "/roles").status_code
    for other in others:
        sql("INSERT INTO user_roles VALUES (:id, 'admin')", id=other.user_id)

    assert (answer.status_code, answer.json()["code"]) == (409, "LastAdministrator")
    assert still == 200
    assert person.request(method, f"/roles/{role}", json=body).is_success


def test_an_administrator_goes_when_another_remains(only_admin: Person, person: Person) -> None:
    assign_roles(only_admin, person, "admin")

    gone = person.request("PUT", f"/users/{person.id}/roles", json={"roles": ["member"]})

    assert gone.status_code == 200


def test_when_two_administrators_remove_each_other_one_remains(
    only_admin: Person, person: Person, other: Person
) -> None:
    assign_roles(only_admin, person, "admin")
    assign_roles(only_admin, other, "admin")
    roles = {"roles": ["member"]}
    assert person.request("PUT", f"/users/{only_admin.id}/roles", json=roles).status_code == 200

    with ThreadPoolExecutor(2) as threads:
        attempts = [
            threads.submit(one.request, "PUT", f"/users/{another.id}/roles", json=roles)
            for one, another in ((person, other), (other, person))
        ]
    statuses = sorted(attempt.result().status_code for attempt in attempts)

    left = [one for one in (person, other) if one.request("GET", "/roles").status_code == 200]
    assign_roles(left[0], only_admin, "admin")
    assert len(left) == 1
    assert statuses[0] == 200 and statuses[1] in (403, 409)
