"""Creating, listing, reading, changing and deleting documents."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from uuid import uuid4

import pytest

from .conftest import Caller


def test_create_document_returns_it_with_its_owner(author: Caller) -> None:
    new = {"title": " Notes ", "body": "Über alles", "tags": ["engine"]}

    response = author.post("/documents", json=new)

    assert response.status_code == 201
    assert response.headers["ETag"] == '"1"'
    document = response.json()
    expected = {**new, "title": "Notes", "owner_id": author.user_id, "version": 1, "size": 11}
    assert document.items() >= expected.items()
    assert (document["content_type"], document["filename"]) == ("text/plain", None)
    assert author.read(document).json() == document


def test_the_same_idempotency_key_creates_one_document(author: Caller) -> None:
    new = {"title": "Once", "body": ""}
    headers = {"Idempotency-Key": str(uuid4())}

    first, second = (author.post("/documents", json=new, headers=headers) for _ in range(2))

    assert first.json() == second.json()
    assert (first.headers["ETag"], second.headers["ETag"]) == ('"1"', '"1"')
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(author.get("/documents").json()["items"]) == 1


def test_the_list_is_newest_first_in_pages_that_do_not_overlap(author: Caller) -> None:
    created = [author.create(title=f"Number {n}")["id"] for n in range(5)]

    first = author.get("/documents", params={"limit": 3}).json()
    second = author.get("/documents", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [item["id"] for item in first["items"] + second["items"]] == created[::-1]
    assert second["next_cursor"] is None
    assert "body" not in first["items"][0]


def test_change_document_needs_the_etag_it_changes(author: Caller) -> None:
    document = author.create()

    response = author.patch(f"/documents/{document['id']}", json={"title": "New"})

    assert response.status_code == 428
    assert "If-Match" in response.json()["detail"]


def test_change_document_makes_a_new_version(author: Caller) -> None:
    document = author.create(tags=["old"])

    response = author.change(document, body="Rewritten", tags=None)

    assert response.status_code == 200
    assert response.headers["ETag"] == '"2"'
    changed = response.json()
    assert (changed["body"], changed["size"], changed["version"]) == ("Rewritten", 9, 2)
    assert (changed["title"], changed["tags"]) == ("Notes", ["old"])
    assert changed["sha256"] != document["sha256"]
    assert changed["updated_at"] > document["updated_at"]


@pytest.mark.parametrize("etag", ['"1"', 'W/"2"', "2", "*", '"1", "3"', "", "é"])
def test_a_stale_change_is_refused_with_the_current_etag(author: Caller, etag: str) -> None:
    document = author.create()
    author.change(document, title="Second")

    headers = {b"If-Match": etag.encode()}
    response = author.patch(f"/documents/{document['id']}", json={"title": "X"}, headers=headers)

    assert response.status_code == 412
    assert response.headers["ETag"] == '"2"'
    assert '"2"' in response.json()["detail"]
    assert author.read(document).json()["title"] == "Second"


def test_if_match_may_list_several_etags(author: Caller) -> None:
    document = author.create()

    headers = {"If-Match": '"7", "1"'}
    response = author.patch(f"/documents/{document['id']}", json={"title": "X"}, headers=headers)

    assert response.status_code == 200


def test_of_parallel_writers_of_one_version_exactly_one_wins(author: Caller) -> None:
    document = author.create()

    with ThreadPoolExecutor(20) as threads:
        titles = [f"Title {n}" for n in range(20)]
        answers = list(threads.map(lambda title: author.change(document, title=title), titles))

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
    (winner,) = (answer.json() for answer in answers if answer.status_code == 200)
    assert author.read(document).json() == winner


def test_of_fifty_parallel_writers_every_accepted_version_is_there(author: Caller) -> None:
    document = author.create(body="")

    def try_to_append(word: str) -> list[str]:
        accepted = []
        for attempt in range(3):
            current = author.read(document).json()
            body = f"{current['body']} {word}-{attempt}".strip()
            answer = author.change(current, body=body)
            assert answer.status_code in (200, 412)
            if answer.status_code == 200:
                accepted.append(body)
        return accepted

    with ThreadPoolExecutor(50) as threads:
        kept = threads.map(try_to_append, [f"w{n}" for n in range(50)])
        accepted = [body for bodies in kept for body in bodies]

    path = f"/documents/{document['id']}/versions"
    versions = [author.get(f"{path}/{n + 1}").json() for n in range(len(accepted) + 1)]
    assert author.get(f"{path}/{len(accepted) + 2}").status_code == 404
    assert sorted(version["body"] for version in versions) == sorted(["", *accepted])
    # Each was made from the one before: no writer overwrote what they had not seen.
    for before, after in pairwise(version["body"].split() for version in versions):
        assert after[:-1] == before


def test_a_deleted_document_is_gone_for_everyone(author: Caller, reviewer: Caller) -> None:
    document = author.create(title="Ephemeral")
    author.share(document, reviewer)

    assert author.delete(f"/documents/{document['id']}").status_code == 204

    for person in (author, reviewer):
        assert person.read(document).status_code == 404
        assert person.get("/documents").json()["items"] == []
        assert person.get("/search", params={"q": "ephemeral"}).json()["items"] == []
    assert author.delete(f"/documents/{document['id']}").status_code == 404
    assert author.change(document, title="Back").status_code == 404


@pytest.mark.parametrize(
    ("new", "field"),
    [
        ({"body": ""}, "title"),
        ({"title": "", "body": ""}, "title"),
        ({"title": " \t ", "body": ""}, "title"),
        ({"title": "x" * 201, "body": ""}, "title"),
        ({"title": "NUL\x00", "body": ""}, "title"),
        ({"title": "half a pair \ud800", "body": ""}, "title"),
        ({"title": 7, "body": ""}, "title"),
        ({"title": "x"}, "body"),
        ({"title": "x", "body": None}, "body"),
        ({"title": "x", "body": "NUL\x00"}, "body"),
        ({"title": "x", "body": "x" * 1_000_001}, "body"),
        ({"title": "x", "body": "", "tags": "engine"}, "tags"),
        ({"title": "x", "body": "", "tags": ["ok", "\x00"]}, "tags.1"),
        ({"title": "x", "body": "", "tags": ["x" * 51]}, "tags.0"),
        ({"title": "x", "body": "", "tags": ["x"] * 21}, "tags"),
        ({"title": "x", "body": "", "owner_id": "a stranger"}, "owner_id"),
        ({"title": "x", "body": "", "content_type": "text/html"}, "content_type"),
    ],
    ids=str,
)
def test_create_document_names_the_field_that_is_wrong(
    author: Caller, new: dict[str, object], field: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = author.post("/documents", content=json.dumps(new), headers=headers)

    assert response.status_code == 422
    assert field in [error["field"] for error in response.json()["errors"]]


def test_change_document_refuses_invalid_changes(author: Caller) -> None:
    document = author.create()

    for changes in ({}, {"title": None}, {"title": ""}, {"version": 7}, {"body": "\x00"}):
        assert author.change(document, **changes).status_code == 422
    assert author.read(document).json() == document


@pytest.mark.parametrize("title", ["日本語 🦀", "‮gnitirw‬", "à" * 200, "<script>alert(1)</script>"])
def test_any_text_is_returned_unchanged(author: Caller, title: str) -> None:
    document = author.create(title=title, body=title * 10, tags=[title[:50]])

    found = author.read(document).json()

    assert (found["title"], found["body"], found["tags"]) == (title, title * 10, [title[:50]])


def test_a_body_over_the_limit_is_413(author: Caller) -> None:
    response = author.post("/documents", json={"title": "x", "body": "x" * 1024 * 1024})

    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"


def test_an_invalid_id_is_422_and_an_unknown_one_404(author: Caller) -> None:
    for wrong in ("none", "1", "%00", "../../health", "00000000-0000-0000-0000-00000000000g"):
        assert author.get(f"/documents/{wrong}").status_code in (404, 422)
    assert author.get(f"/documents/{uuid4()}").json()["code"] == "UnknownDocument"
