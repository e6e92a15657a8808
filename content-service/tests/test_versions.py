"""Versions: full snapshots that cannot change."""

import hashlib

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from content_service.database import engine

from .conftest import Caller
from .files import make_pdf


def test_every_version_stays_as_it_was(author: Caller) -> None:
    first = author.create(title="First", tags=["a"])
    second = author.change(first, title="Second", body="New text", tags=["b"]).json()
    path = f"/documents/{first['id']}/versions"

    one, two = (author.get(f"{path}/{number}").json() for number in (1, 2))

    shown = ("title", "body", "tags", "size", "sha256", "content_type", "filename")
    assert [one[name] for name in shown] == [first[name] for name in shown]
    assert [two[name] for name in shown] == [second[name] for name in shown]
    assert (one["author_id"], one["number"], two["number"]) == (author.user_id, 1, 2)


def test_versions_are_listed_newest_first_in_pages(author: Caller) -> None:
    document = author.create()
    for _ in range(3):
        document = author.change(document, body="again").json()
    path = f"/documents/{document['id']}/versions"

    first = author.get(path, params={"limit": 2}).json()
    second = author.get(path, params={"limit": 2, "cursor": first["next_cursor"]}).json()

    numbers = [version["number"] for version in first["items"] + second["items"]]
    assert numbers == [4, 3, 2, 1]
    assert "body" not in first["items"][0]


def test_a_version_names_who_wrote_it(author: Caller, reviewer: Caller) -> None:
    document = author.create()
    author.share(document, reviewer, "write")

    reviewer.change(document, title="Reviewed")

    versions = author.get(f"/documents/{document['id']}/versions").json()["items"]
    assert [version["author_id"] for version in versions] == [reviewer.user_id, author.user_id]


@pytest.mark.parametrize("number", ["2", "0", "-1", "x", str(2**31), "9" * 100])
def test_an_invalid_version_is_refused(author: Caller, number: str) -> None:
    document = author.create()

    response = author.get(f"/documents/{document['id']}/versions/{number}")

    assert response.status_code == (404 if number == "2" else 422)


def test_the_database_refuses_to_change_a_version(author: Caller) -> None:
    document = author.create()

    change = text("UPDATE content_versions SET title = 'forged' WHERE document_id = :id")

    with pytest.raises(InternalError, match="append-only"), engine.begin() as connection:
        connection.execute(change, {"id": document["id"]})


def test_a_restored_version_is_a_new_one_and_the_others_are_unchanged(author: Caller) -> None:
    first = author.create(title="First", body="mill", tags=["a"])
    second = author.change(first, title="Second", body="weir", tags=[]).json()
    path = f"/documents/{first['id']}/versions"

    response = author.post(f"{path}/1/restore", headers={"If-Match": '"2"'})

    third = response.json()
    assert (response.status_code, response.headers["ETag"], third["version"]) == (200, '"3"', 3)
    shown = ("title", "body", "tags", "sha256")
    assert [third[name] for name in shown] == [first[name] for name in shown]
    for number, document in ((1, first), (2, second), (3, third)):
        version = author.get(f"{path}/{number}").json()
        assert [version[name] for name in shown] == [document[name] for name in shown]
    newest = author.get(f"/documents/{first['id']}/audit").json()["items"][0]
    assert (newest["action"], newest["details"]) == (
        "version.restored",
        {"version": 3, "restored": 1},
    )


def test_restoring_needs_the_current_etag_and_an_existing_version(author: Caller) -> None:
    document = author.create()
    author.change(document, title="Second")
    path = f"/documents/{document['id']}/versions"

    assert author.post(f"{path}/1/restore").status_code == 428
    stale = author.post(f"{path}/1/restore", headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.headers["ETag"]) == (412, '"2"')
    unknown = author.post(f"{path}/7/restore", headers={"If-Match": '"2"'})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "UnknownVersion")


def test_a_file_is_replaced_and_every_version_keeps_its_own(author: Caller) -> None:
    contents = [make_pdf("First edition"), make_pdf("Second edition")]
    document = author.upload(contents[0], "one.pdf", title="Report", tags=["a"])
    path = f"/documents/{document['id']}"

    response = author.put(
        f"{path}/file", files={"file": ("two.pdf", contents[1])}, headers={"If-Match": '"1"'}
    )

    replaced = response.json()
    assert (response.status_code, response.headers["ETag"]) == (200, '"2"')
    assert replaced["sha256"] == hashlib.sha256(contents[1]).hexdigest()
    shown = ("title", "tags", "filename", "version")
    assert [replaced[name] for name in shown] == ["Report", ["a"], "two.pdf", 2]
    assert author.get(f"{path}/download").content == contents[1]
    for number, content in enumerate(contents, start=1):
        assert author.get(f"{path}/versions/{number}/download").content == content
    author.post(f"{path}/versions/1/restore", headers={"If-Match": '"2"'})
    assert author.get(f"{path}/download").content == contents[0]


def test_replacing_a_file_needs_its_etag_and_a_file(author: Caller) -> None:
    document = author.upload(make_pdf("Only edition"))
    path = f"/documents/{document['id']}/file"
    new = {"file": ("a.txt", b"words")}

    assert author.put(path, files=new).status_code == 428
    assert author.put(path, files=new, headers={"If-Match": '"7"'}).status_code == 412
    nothing = author.put(path, files={"file": ("a", b"")}, headers={"If-Match": '"1"'})
    assert nothing.json()["errors"] == [{"field": "file", "message": "is empty"}]


def test_a_restored_file_is_found_by_its_own_text_again(author: Caller) -> None:
    document = author.upload(make_pdf("Penstocks"))
    author.process(document)
    path = f"/documents/{document['id']}"
    new = {"file": ("new.pdf", make_pdf("Carpentry"))}
    author.put(f"{path}/file", files=new, headers={"If-Match": '"1"'})
    assert author.get("/search?q=penstock").json()["items"] == []

    author.post(f"{path}/versions/1/restore", headers={"If-Match": '"2"'})

    assert [item["id"] for item in author.get("/search?q=penstock").json()["items"]] == [
        document["id"]
    ]


def test_a_version_may_be_labelled_and_the_label_removed(author: Caller) -> None:
    document = author.create()
    path = f"/documents/{document['id']}/versions"

    named = author.put(f"{path}/1/label", json={"label": " as signed "})

    assert (named.status_code, named.json()["label"]) == (200, "as signed")
    assert author.get(path).json()["items"][0]["label"] == "as signed"
    assert author.put(f"{path}/1/label", json={"label": None}).json()["label"] is None
    assert author.put(f"{path}/2/label", json={"label": "x"}).status_code == 404
    assert author.put(f"{path}/1/label", json={}).json()["errors"][0]["field"] == "label"
