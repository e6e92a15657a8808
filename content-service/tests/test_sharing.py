"""Permissions: granted, revoked, expired."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from chassis.service_client import ServiceClient
from tools.localdev.fake_identity import FakeIdentity

from .conftest import (
    Caller,
    Login,
    clean_up,
    create_role_name,
    expire_grant,
    get_time_in_an_hour,
    replace_state,
)


def test_a_shared_document_is_seen_at_once_everywhere(author: Caller, reviewer: Caller) -> None:
    document = author.create(title="Quarterly figures")
    assert reviewer.read(document).status_code == 404

    author.share(document, reviewer)

    assert reviewer.read(document).json() == document
    assert [item["id"] for item in reviewer.get("/documents").json()["items"]] == [document["id"]]
    found = reviewer.get("/search", params={"q": "figure"}).json()["items"]
    assert [item["id"] for item in found] == [document["id"]]


def test_a_revoked_permission_ends_at_once(author: Caller, reviewer: Caller) -> None:
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


def test_sharing_with_an_unknown_user_is_404(author: Caller) -> None:
    document = author.create()

    response = author.put(
        f"/documents/{document['id']}/permissions/{uuid4()}", json={"level": "read"}
    )

    assert (response.status_code, response.json()["code"]) == (404, "UnknownGrantee")


def test_sharing_is_503_while_identity_is_down(author: Caller, reviewer: Caller) -> None:
    document = author.create()
    down = ServiceClient("http://identity", "content-service", transport=FakeIdentity(is_down=True))

    path = f"/documents/{document['id']}/permissions/{reviewer.user_id}"
    with replace_state("identity", down):
        response = author.put(path, json={"level": "read"})

    assert response.status_code == 503
    assert response.headers["Retry-After"]
    assert reviewer.read(document).status_code == 404


@pytest.mark.parametrize("new", [{}, {"level": "owner"}, {"level": None}, {"level": ["read"]}])
def test_an_invalid_level_is_422(author: Caller, reviewer: Caller, new: object) -> None:
    document = author.create()

    path = f"/documents/{document['id']}/permissions/{reviewer.user_id}"
    response = author.put(path, json=new)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith("level")


def test_a_role_opens_the_document_to_everyone_who_has_it(author: Caller, login: Login) -> None:
    role = create_role_name()
    first = login(roles=(role, "member"))
    second = login(roles=(role,))
    other = login()
    document = author.create(title="For the auditors")

    author.share(document, role, "write")

    for auditor in (first, second):
        assert auditor.read(document).json() == document
        assert [item["id"] for item in auditor.get("/documents").json()["items"]] == [
            document["id"]
        ]
        found = auditor.get("/search", params={"q": "auditor"}).json()["items"]
        assert [item["id"] for item in found] == [document["id"]]
    assert other.read(document).status_code == 404
    assert first.change(document, title="Audited").status_code == 200
    assert first.delete(f"/documents/{document['id']}").status_code == 403

    assert author.delete(f"/documents/{document['id']}/permissions/roles/{role}").status_code == 204
    assert first.read(document).status_code == 404
    assert first.get("/documents").json()["items"] == []


def test_the_highest_of_several_grants_counts(author: Caller, login: Login) -> None:
    role = create_role_name()
    reviewer = login(roles=(role,))
    document = author.create()

    author.share(document, reviewer, "read")
    author.share(document, role, "write")

    assert reviewer.change(document, title="By the role").status_code == 200
    listed = author.get(f"/documents/{document['id']}/permissions").json()["items"]
    names = {(item["user_id"], item["role"]): item["level"] for item in listed}
    assert names == {
        (author.user_id, None): "manage",
        (reviewer.user_id, None): "read",
        (None, role): "write",
    }


def test_sharing_with_an_unknown_role_is_404(author: Caller) -> None:
    document = author.create()
    path = f"/documents/{document['id']}/permissions/roles"

    unknown = author.put(f"{path}/{create_role_name()}", json={"level": "read"})
    wrong = author.put(f"{path}/No Role", json={"level": "read"})

    assert (unknown.status_code, unknown.json()["code"]) == (404, "UnknownGrantee")
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "role")


@pytest.mark.parametrize("kind", ["user", "role"])
def test_a_permission_ends_when_it_expires(author: Caller, login: Login, kind: str) -> None:
    role = create_role_name()
    reviewer = login(roles=(role,))
    document = author.create(title="Perishable")
    author.share(document, reviewer if kind == "user" else role, expires_at=get_time_in_an_hour())
    assert reviewer.read(document).status_code == 200

    expire_grant(document, f"user:{reviewer.user_id}" if kind == "user" else f"role:{role}")

    assert reviewer.read(document).status_code == 404
    assert reviewer.get("/documents").json()["items"] == []
    assert reviewer.get("/search", params={"q": "perishable"}).json()["items"] == []


def test_an_expired_permission_is_deleted_and_may_be_granted_again(
    author: Caller, reviewer: Caller
) -> None:
    document = author.create()
    author.share(document, reviewer, "write", expires_at=get_time_in_an_hour())
    expire_grant(document, f"user:{reviewer.user_id}")

    path = f"/documents/{document['id']}"
    at_once = author.get(f"{path}/permissions").json()["items"]
    assert [item["user_id"] for item in at_once] == [author.user_id]

    clean_up()

    listed = author.get(f"{path}/permissions").json()["items"]
    assert [item["user_id"] for item in listed] == [author.user_id]
    newest = author.get(f"{path}/audit").json()["items"][0]
    assert (newest["action"], newest["actor_id"]) == ("permission.expired", None)
    assert newest["details"]["user_id"] == reviewer.user_id

    author.share(document, reviewer, "read")
    assert reviewer.read(document).status_code == 200


@pytest.mark.parametrize(
    "expires_at", ["2020-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "tomorrow", 7]
)
def test_an_invalid_expiry_is_422(author: Caller, reviewer: Caller, expires_at: object) -> None:
    document = author.create()

    path = f"/documents/{document['id']}/permissions/{reviewer.user_id}"
    response = author.put(path, json={"level": "read", "expires_at": expires_at})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "expires_at"


def test_parallel_grants_to_one_user_leave_one(author: Caller, reviewer: Caller) -> None:
    document = author.create()
    path = f"/documents/{document['id']}/permissions"

    def put(level: str) -> int:
        return author.put(f"{path}/{reviewer.user_id}", json={"level": level}).status_code

    with ThreadPoolExecutor(9) as threads:
        answers = list(threads.map(put, ["read", "write", "manage"] * 3))
        gone = list(threads.map(lambda _: author.delete(f"{path}/{reviewer.user_id}"), range(3)))

    assert set(answers) == {200}
    assert sorted(answer.status_code for answer in gone) == [204, 404, 404]
