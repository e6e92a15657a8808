"""Tests of items over HTTP: only their owner sees them."""

from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from .conftest import Login

LAMP = {"name": "Lamp", "description": "Brass, with a green shade"}


def create(owner: TestClient, **fields: Any) -> Any:
    response = owner.post("/items", json={**LAMP, **fields})
    assert response.status_code == 201, response.text
    return response.json()


def test_an_item_is_saved_and_read_back(owner: TestClient) -> None:
    item = create(owner)

    assert item.items() >= LAMP.items()
    assert owner.get(f"/items/{item['id']}").json() == item


def test_items_are_listed_newest_first_in_pages(owner: TestClient) -> None:
    made = [create(owner, name=name)["id"] for name in ("First", "Second", "Third")]

    page = owner.get("/items", params={"limit": 2}).json()
    rest = owner.get("/items", params={"limit": 2, "cursor": page["next_cursor"]}).json()

    assert [item["id"] for item in page["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None


def test_what_is_not_named_stays_as_it_is(owner: TestClient) -> None:
    item = create(owner)

    changed = owner.patch(f"/items/{item['id']}", json={"name": "Desk lamp"}).json()

    assert (changed["name"], changed["description"]) == ("Desk lamp", LAMP["description"])
    assert changed["updated_at"] > item["updated_at"]


def test_a_deleted_item_is_gone(owner: TestClient) -> None:
    path = f"/items/{create(owner)['id']}"

    assert owner.delete(path).status_code == 204

    assert owner.get(path).status_code == owner.delete(path).status_code == 404


def test_an_item_does_not_exist_for_anybody_but_its_owner(
    owner: TestClient, stranger: TestClient
) -> None:
    path = f"/items/{create(owner)['id']}"

    refusals = [
        stranger.get(path),
        stranger.patch(path, json={"name": "Mine"}),
        stranger.delete(path),
        stranger.get(f"/items/{uuid4()}"),
    ]

    assert {response.status_code for response in refusals} == {404}
    assert len({response.json()["detail"] for response in refusals}) == 1
    assert stranger.get("/items").json()["items"] == []
    assert owner.get(path).json()["name"] == LAMP["name"]


def test_an_administrator_sees_every_item(owner: TestClient, login: Login) -> None:
    item = create(owner)

    assert login("*").get(f"/items/{item['id']}").json() == item


def test_a_name_is_an_owners_only_once(owner: TestClient, stranger: TestClient) -> None:
    create(owner)
    other = create(owner, name="Chair")

    again = owner.post("/items", json=LAMP)
    renamed = owner.patch(f"/items/{other['id']}", json={"name": LAMP["name"]})

    assert again.status_code == renamed.status_code == 409
    assert again.json()["code"] == "DuplicateName"
    create(stranger)


def test_the_same_key_makes_one_item(owner: TestClient) -> None:
    headers = {"Idempotency-Key": str(uuid4())}

    first, again = (owner.post("/items", json=LAMP, headers=headers) for _ in range(2))

    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": None}, "name"),
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "nul\x00"}, "name"),
        ({"description": 7}, "description"),
        ({"price": 7}, "price"),
    ],
)
def test_a_wrong_field_is_named(owner: TestClient, fields: dict[str, Any], named: str) -> None:
    response = owner.post("/items", json={**LAMP, **fields})

    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [named]


def test_a_change_of_nothing_is_refused(owner: TestClient) -> None:
    assert owner.patch(f"/items/{create(owner)['id']}", json={}).status_code == 422


def test_each_permission_is_required(login: Login) -> None:
    reader = login("acme:read")
    writer = login("acme:write")

    assert reader.get("/items").status_code == 200
    assert reader.post("/items", json=LAMP).status_code == 403
    assert writer.post("/items", json=LAMP).status_code == 201
    assert writer.get("/items").status_code == 403
