"""Versions: full snapshots that nothing can change."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from content_service.database import engine

from .conftest import Caller


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
def test_a_version_that_is_none_is_refused(author: Caller, number: str) -> None:
    document = author.create()

    response = author.get(f"/documents/{document['id']}/versions/{number}")

    assert response.status_code == (404 if number == "2" else 422)


def test_the_database_refuses_to_change_a_version(author: Caller) -> None:
    document = author.create()

    change = text("UPDATE content_versions SET title = 'forged' WHERE document_id = :id")

    with pytest.raises(InternalError, match="append-only"), engine.begin() as connection:
        connection.execute(change, {"id": document["id"]})
