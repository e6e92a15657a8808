"""Permissions: giving them, taking them away, and who may not."""

from uuid import uuid4

import pytest

from chassis.service_client import ServiceClient
from chassis.testing import FakeIdentity

from .conftest import Caller, replaced


def test_a_shared_document_is_seen_at_once_everywhere(author: Caller, reviewer: Caller) -> None:
    document = author.create(title="Quarterly figures")
    assert reviewer.read(document).status_code == 404

    author.share(document, reviewer)

    assert reviewer.read(document).json() == document
    assert [item["id"] for item in reviewer.get("/documents").json()["items"]] == [document["id"]]
    found = reviewer.get("/search", params={"q": "figure"}).json()["items"]
    assert [item["id"] for item in found] == [document["id"]]


def test_a_permission_taken_away_is_gone_at_once(author: Caller, reviewer: Caller) -> None:
    document = author.create()
    author.share(document, reviewer, "manage")
    assert reviewer.read(document).status_code == 200
    path = f"/documents/{document['id']}/permissions/{reviewer.user_id}"

    assert author.delete(path).status_code == 204

    assert reviewer.read(document).status_code == 404
    assert reviewer.get("/documents").json()["items"] == []
    assert author.delete(path).json()["code"] == "UnknownPermission"


def test_a_new_level_takes_the_place_of_the_old(author: Caller, reviewer: Caller) -> None:
    document = author.create()
    author.share(document, reviewer, "manage")

    author.share(document, reviewer, "read")

    assert reviewer.change(document, title="Mine now").status_code == 403
    listed = author.get(f"/documents/{document['id']}/permissions").json()["items"]
    levels = {item["user_id"]: (item["level"], item["granted_by"]) for item in listed}
    assert levels == {
        author.user_id: ("manage", author.user_id),
        reviewer.user_id: ("read", author.user_id),
    }


def test_permissions_come_in_pages(author: Caller, reviewer: Caller, stranger: Caller) -> None:
    document = author.create()
    author.share(document, reviewer)
    author.share(document, stranger)
    path = f"/documents/{document['id']}/permissions"

    first = author.get(path, params={"limit": 2}).json()
    second = author.get(path, params={"limit": 2, "cursor": first["next_cursor"]}).json()

    people = [item["user_id"] for item in first["items"] + second["items"]]
    assert sorted(people) == sorted([author.user_id, reviewer.user_id, stranger.user_id])


@pytest.mark.parametrize("forged", ["x", "WzFd", "W251bGxd", "WyJcdTAwMDAiXQ"])
def test_a_forged_cursor_is_422(author: Caller, forged: str) -> None:
    document = author.create()

    response = author.get(f"/documents/{document['id']}/permissions", params={"cursor": forged})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "cursor"


def test_a_manager_may_share_but_the_owner_stays(
    author: Caller, reviewer: Caller, stranger: Caller
) -> None:
    document = author.create()
    author.share(document, reviewer, "manage")

    reviewer.share(document, stranger)

    assert stranger.read(document).status_code == 200
    owner = f"/documents/{document['id']}/permissions/{author.user_id}"
    assert reviewer.delete(owner).json()["code"] == "OwnersPermission"
    assert reviewer.put(owner, json={"level": "read"}).status_code == 409


def test_sharing_with_nobody_is_404(author: Caller) -> None:
    document = author.create()

    response = author.put(
        f"/documents/{document['id']}/permissions/{uuid4()}", json={"level": "read"}
    )

    assert (response.status_code, response.json()["code"]) == (404, "UnknownPerson")


def test_sharing_is_503_while_identity_cannot_say_who_that_is(
    author: Caller, reviewer: Caller
) -> None:
    document = author.create()
    down = ServiceClient("http://identity", "content-service", transport=FakeIdentity(down=True))

    path = f"/documents/{document['id']}/permissions/{reviewer.user_id}"
    with replaced("identity", down):
        response = author.put(path, json={"level": "read"})

    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert reviewer.read(document).status_code == 404


@pytest.mark.parametrize("new", [{}, {"level": "owner"}, {"level": None}, {"level": ["read"]}])
def test_a_level_that_is_none_is_422(author: Caller, reviewer: Caller, new: object) -> None:
    document = author.create()

    path = f"/documents/{document['id']}/permissions/{reviewer.user_id}"
    response = author.put(path, json=new)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith("level")
