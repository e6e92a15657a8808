"""Uploads: limits, duplicates, storage."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from httpx2 import Response

from content_service.settings import settings

from .conftest import Caller, ChangeSettings, clean_up
from .files import make_pdf

STORAGE_FOLDER = Path(urlsplit(settings.storage_url).path)


def test_an_empty_file_is_422(author: Caller) -> None:
    response = author.post_file(b"")

    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "file", "message": "is empty"}]


def test_a_form_without_a_file_names_the_field(author: Caller) -> None:
    forms: list[Any] = [{"data": {"title": "x"}}, {"files": {"other": b"a"}}, {"json": {}}, {}]
    for form in forms:
        response = author.post("/documents/upload", **form)

        assert response.status_code == 422
        assert "file" in [error["field"] for error in response.json()["errors"]]


def test_title_and_tags_go_with_the_file(author: Caller) -> None:
    document = author.upload(b"words", "a.txt", title="Given", tags=["one", "two"])

    assert (document["title"], document["tags"]) == ("Given", ["one", "two"])


WRONG_FIELDS = [{"title": "NUL\x00"}, {"title": " "}, {"tags": ["x" * 51]}, {"a": "b"}]


@pytest.mark.parametrize("field", WRONG_FIELDS)
def test_a_wrong_field_of_the_form_is_named(author: Caller, field: dict[str, str]) -> None:
    response = author.post_file(b"words", "a.txt", **field)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith(next(iter(field)))


def test_a_file_over_the_limit_is_413(author: Caller) -> None:
    """The announced length is enough to refuse it, before it is read."""
    headers = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Content-Length": str(settings.max_upload_bytes + 1),
    }
    response = author.post("/documents/upload", content=iter([b"--b\r\n"]), headers=headers)

    assert response.status_code == 413
    assert response.headers["Content-Type"] == "application/problem+json"


def test_the_limit_holds_when_the_length_is_not_announced(author: Caller) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        for _ in range(settings.max_upload_bytes // 2**20 + 2):
            yield b"x" * 2**20

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = author.post("/documents/upload", content=endless(), headers=headers)

    assert response.status_code == 413


def test_the_same_content_is_stored_once(author: Caller, reviewer: Caller) -> None:
    content = f"unique {uuid4()}".encode()
    before = list_stored_files()

    for person in (author, reviewer, author):
        person.upload(content, f"{uuid4()}.txt")

    assert list_stored_files() - before == {hashlib.sha256(content).hexdigest()}


def test_an_upload_repeated_with_its_key_makes_one_document(author: Caller) -> None:
    headers = {"Idempotency-Key": str(uuid4())}

    def post(content: bytes) -> tuple[int, str]:
        files = {"file": ("a.txt", content)}
        response = author.post("/documents/upload", files=files, headers=headers)
        return response.status_code, response.json().get("id")

    assert post(b"words") == post(b"words")
    assert post(b"other words")[0] == 422
    assert len(author.get("/documents").json()["items"]) == 1


def test_an_uploaded_file_accepts_no_text_but_a_new_title(author: Caller) -> None:
    document = author.upload(b"words", "a.txt")

    assert author.change(document, body="other words").status_code == 422
    renamed = author.change(document, title="Renamed").json()

    assert (renamed["version"], renamed["sha256"]) == (2, document["sha256"])


def test_a_storage_that_fails_is_503_and_leaves_nothing(
    author: Caller, change_settings: ChangeSettings
) -> None:
    change_settings(storage_url="file:///dev/null/nowhere")

    response = author.post_file(b"words", "a.txt")

    assert response.status_code == 503
    assert response.json()["code"] == "StorageFailed"
    assert "/dev/null" not in response.text
    assert author.get("/documents").json()["items"] == []


def test_a_second_upload_of_a_file_names_the_first(author: Caller, stranger: Caller) -> None:
    content = make_pdf(str(uuid4()))
    first = author.upload(content)

    second = author.upload(content, "other name")
    other = stranger.upload(content)

    assert (first["duplicate_of"], second["duplicate_of"]) == (None, first["id"])
    assert other["duplicate_of"] is None  # files of others are not revealed
    author.delete(f"/documents/{first['id']}")
    assert author.upload(content)["duplicate_of"] == second["id"]


def test_duplicates_are_refused_where_that_is_set(
    author: Caller, stranger: Caller, change_settings: ChangeSettings
) -> None:
    change_settings(duplicates="reject")
    content = make_pdf(str(uuid4()))
    first = author.upload(content)

    with ThreadPoolExecutor(5) as threads:
        answers = [*threads.map(lambda _: author.post_file(content), range(5))]

    assert {answer.status_code for answer in answers} == {409}
    assert (answers[0].json()["code"], first["id"] in answers[0].text) == ("DuplicateFile", True)
    assert stranger.post_file(content).status_code == 201


def test_a_duplicate_file_replaces_no_other_where_duplicates_are_refused(
    author: Caller, change_settings: ChangeSettings
) -> None:
    change_settings(duplicates="reject")
    content = make_pdf(str(uuid4()))
    first = author.upload(content)
    other = author.upload(make_pdf(str(uuid4())))

    def put(document: dict[str, Any]) -> Response:
        path = f"/documents/{document['id']}/file"
        etag = {"If-Match": '"1"'}
        return author.put(path, files={"file": ("a.pdf", content)}, headers=etag)

    assert put(other).json()["code"] == "DuplicateFile"
    assert put(first).status_code == 200


def test_of_parallel_uploads_of_a_file_one_is_the_first(
    author: Caller, change_settings: ChangeSettings
) -> None:
    change_settings(duplicates="reject")
    content = make_pdf(str(uuid4()))

    with ThreadPoolExecutor(10) as threads:
        answers = [*threads.map(lambda _: author.post_file(content), range(10))]

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


def test_the_storage_may_be_any_store_that_fsspec_knows(
    author: Caller, change_settings: ChangeSettings
) -> None:
    """This one is the memory of the process."""
    change_settings(storage_url="memory://bucket/files")
    content = make_pdf("Kept elsewhere")

    document = author.upload(content)
    clean_up()

    response = author.get(f"/documents/{document['id']}/download")
    assert response.content == content
    part = author.get(f"/documents/{document['id']}/download", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"%PDF")
    assert author.process(document)["text"].strip() == "Kept elsewhere"


def list_stored_files() -> set[str]:
    return {path.name for path in STORAGE_FOLDER.rglob("*") if path.is_file()}
