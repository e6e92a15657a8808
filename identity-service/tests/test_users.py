"""Users, as administrators, services and the users themselves see and change them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from .conftest import PASSWORD, Person, bearer, validate

OWN = ("", "/profile", "/contact", "/permissions", "/roles")


@pytest.mark.parametrize("part", OWN)
def test_users_see_only_themselves(person: Person, other: Person, part: str) -> None:
    own = person.request("GET", f"/users/{person.id}{part}")
    theirs = person.request("GET", f"/users/{other.id}{part}")
    unknown = person.request("GET", f"/users/{uuid4()}{part}")

    assert own.status_code == 200
    assert own.json()["user_id" if part else "id"] == person.id
    # Other users and unknown ones look the same.
    assert (theirs.status_code, theirs.json()["detail"]) == (403, unknown.json()["detail"])
    assert unknown.status_code == 403


@pytest.mark.parametrize("part", OWN)
def test_an_administrator_sees_all_users(admin: Person, person: Person, part: str) -> None:
    assert admin.request("GET", f"/users/{person.id}{part}").status_code == 200
    assert admin.request("GET", f"/users/{uuid4()}{part}").status_code == 404


def test_siblings_find_users_without_the_prefix(client: TestClient, person: Person) -> None:
    answer = client.get(f"/users/{person.id}/profile", headers=person.headers)

    assert answer.json()["email"] == person.email


def test_services_see_what_their_permissions_allow(
    client: TestClient, person: Person, service_token: Callable[..., str]
) -> None:
    def get_status(client_id: str, part: str) -> int:
        headers = bearer(service_token(client_id))
        return client.get(f"/api/v1/users/{person.id}{part}", headers=headers).status_code

    assert get_status("communication-service", "/contact") == 200
    assert get_status("content-service", "/contact") == 403
    assert get_status("content-service", "/permissions") == 200
    assert get_status("workflow-service", "/roles") == 200
    assert get_status("communication-service", "/permissions") == 403
    assert {get_status(f"{name}-service", "/profile") for name in ("content", "communication")} == {
        200
    }


def test_contacts_leave_out_unknown_users(
    client: TestClient, person: Person, other: Person, service_token: Callable[..., str]
) -> None:
    headers = bearer(service_token("communication-service"))
    body = {"user_ids": [person.id, other.id, str(uuid4())]}

    found = client.post("/api/v1/users/contacts", json=body, headers=headers).json()["items"]

    assert {contact["email"] for contact in found} == {person.email, other.email}
    assert (
        found[0]
        == client.get(f"/api/v1/users/{found[0]['user_id']}/contact", headers=headers).json()
    )


def test_administration_is_for_administrators(person: Person, other: Person) -> None:
    path = f"/users/{other.id}"
    answers = [
        person.request("GET", "/users"),
        person.request("POST", "/users", json=new_user()),
        person.request("PATCH", path, json={"name": "Eve"}),
        person.request("PATCH", f"/users/{person.id}", json={"is_verified": True}),
        person.request("DELETE", path),
        person.request("DELETE", f"/users/{person.id}"),
        person.request("PATCH", f"{path}/profile", json={"name": "Eve"}),
        person.request("PUT", f"/users/{person.id}/roles", json={"roles": ["admin"]}),
    ]

    assert {answer.status_code for answer in answers} == {403}
    assert "users:write" in answers[1].json()["detail"]
    assert "roles:write" in answers[-1].json()["detail"]


def new_user(**fields: Any) -> dict[str, Any]:
    return {
        "email": f"{uuid4()}@example.com",
        "name": "Some Body",
        "password": PASSWORD,
        **fields,
    }


def test_an_administrator_creates_an_account_with_roles(client: TestClient, admin: Person) -> None:
    new = new_user(roles=["editor", "viewer"], is_verified=True)

    created = admin.request("POST", "/users", json=new)
    listed = admin.request("GET", "/users?limit=1").json()

    assert created.status_code == 201
    assert (
        created.json().items()
        >= {
            "email": new["email"],
            "roles": ["editor", "viewer"],
            "is_verified": True,
        }.items()
    )
    assert listed["items"] == [created.json()]
    credentials = {"email": new["email"], "password": PASSWORD}
    assert client.post("/auth/login", json=credentials).status_code == 200


def test_a_page_continues_where_the_previous_one_ended(
    admin: Person, new_person: Callable[[], Person]
) -> None:
    people = [new_person().id for _ in range(4)]

    first = admin.request("GET", "/users?limit=2").json()
    second = admin.request("GET", f"/users?limit=2&cursor={first['next_cursor']}").json()

    found = [item["id"] for item in first["items"] + second["items"]]
    assert found == people[::-1]


def test_users_are_listed_by_role(admin: Person, new_person: Callable[[], Person]) -> None:
    editor = admin.request("POST", "/users", json=new_user(roles=["editor"])).json()
    new_person()

    of_role = admin.request("GET", "/users?role=editor&limit=1").json()

    assert of_role["items"] == [editor]
    assert admin.request("GET", "/users?role=unknown-has-it").json()["items"] == []
    assert admin.request("GET", "/users?role=%00").status_code == 422


def test_a_deactivated_user_is_logged_out_everywhere(
    client: TestClient, person: Person, admin: Person
) -> None:
    elsewhere = person.log_in_again()
    path = f"/users/{person.id}"

    answer = admin.request("PATCH", path, json={"is_active": False})

    assert answer.json()["is_active"] is False
    assert (person.status, elsewhere.status) == (401, 401)
    body = {"refresh_token": person.refresh_token}
    assert client.post("/auth/refresh", json=body).status_code == 401
    admin.request("PATCH", path, json={"is_active": True})
    assert person.status == 401  # ended sessions stay ended
    assert person.log_in_again().status == 200


def test_a_locked_user_cannot_log_in_until_the_lock_ends(
    client: TestClient,
    person: Person,
    admin: Person,
    service_token: Callable[..., str],
    sql: Callable[..., list[Any]],
) -> None:
    acting = service_token("workflow-service", person.id)
    lock = {"locked_until": "2100-01-01T00:00:00+01:00"}

    locked = admin.request("PATCH", f"/users/{person.id}", json=lock)

    assert locked.json()["locked_until"] == "2099-12-31T23:00:00Z"
    assert (person.status, validate(client, acting).status_code) == (401, 401)
    credentials = {"email": person.email, "password": PASSWORD}
    assert client.post("/auth/login", json=credentials).status_code == 401
    sql("UPDATE users SET locked_until = now() WHERE id = :id", id=person.id)
    assert person.status == 401  # the session is over
    assert (person.log_in_again().status, validate(client, acting).status_code) == (200, 200)


@pytest.mark.parametrize("time", ["soon", "2100-01-01T00:00:00", "9999-12-31T23:59:59-14:00"])
def test_a_lock_needs_a_time_with_its_zone(admin: Person, person: Person, time: Any) -> None:
    answer = admin.request("PATCH", f"/users/{person.id}", json={"locked_until": time})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "locked_until")


def test_a_deleted_user_is_gone(client: TestClient, person: Person, admin: Person) -> None:
    assert admin.request("DELETE", f"/users/{person.id}").status_code == 204

    assert person.status == 401
    body = {"refresh_token": person.refresh_token}
    assert client.post("/auth/refresh", json=body).status_code == 401
    assert admin.request("GET", f"/users/{person.id}").status_code == 404
    assert admin.request("DELETE", f"/users/{person.id}").status_code == 404


def test_a_new_address_is_the_one_to_log_in_with(person: Person, admin: Person) -> None:
    email = f"{uuid4()}@example.com"

    answer = admin.request("PATCH", f"/users/{person.id}", json={"email": email.upper()})
    taken = admin.request("PATCH", f"/users/{person.id}", json={"email": admin.email})

    assert answer.json()["email"] == email
    assert (taken.status_code, taken.json()["code"]) == (409, "EmailTaken")
    person.email = email
    assert person.log_in_again().status == 200


def test_roles_are_set_as_a_whole(person: Person, admin: Person) -> None:
    path = f"/users/{person.id}/roles"

    several = admin.request("PUT", path, json={"roles": ["viewer", "editor", "viewer"]})
    unknown = admin.request("PUT", path, json={"roles": ["viewer", "no-such-role"]})

    assert several.json()["roles"] == ["editor", "viewer"]
    assert unknown.status_code == 422
    assert unknown.json()["errors"] == [
        {"field": "roles", "message": "there is no role no-such-role"}
    ]


def test_roles_set_many_times_at_once_are_one_of_them(person: Person, admin: Person) -> None:
    path = f"/users/{person.id}/roles"
    choices: list[list[str]] = [["viewer"], ["editor"], ["viewer", "editor"], []] * 3

    with ThreadPoolExecutor(12) as threads:
        answers = threads.map(
            lambda roles: admin.request("PUT", path, json={"roles": roles}).status_code, choices
        )

    assert set(answers) == {200}
    found = admin.request("GET", f"/users/{person.id}/permissions").json()["roles"]
    assert sorted(found, reverse=True) in choices


def test_rights_can_only_be_granted_and_revoked_by_callers_who_have_them(
    new_person_with: Callable[..., Person], person: Person, admin: Person
) -> None:
    clerk = new_person_with("users:write", "roles:write", "documents:read")
    answers = [
        clerk.request("PUT", f"/users/{clerk.id}/roles", json={"roles": ["admin"]}),
        clerk.request("PUT", f"/users/{person.id}/roles", json={"roles": []}),
        clerk.request("POST", "/users", json=new_user(roles=["admin"])),
        clerk.request("PATCH", f"/users/{admin.id}", json={"email": "eve@example.com"}),
        clerk.request("PATCH", f"/users/{admin.id}", json={"is_active": False}),
        clerk.request("DELETE", f"/users/{admin.id}"),
        clerk.request("POST", "/roles", json={"name": "mine", "permissions": ["*"]}),
    ]

    assert {answer.status_code for answer in answers} == {403}
    assert "permission *" in answers[0].json()["detail"]
    assert admin.status == 200
    assert clerk.request("POST", "/users", json=new_user(roles=["guest"])).status_code == 201
