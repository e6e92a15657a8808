"""Uploading and downloading files."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
from httpx2 import Response

from content_service.settings import settings

from .conftest import Caller, saved
from .files import pdf, repacked, word, zipped

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
STORAGE = Path(urlsplit(settings.storage_url).path)


@pytest.mark.parametrize(
    ("content", "name", "content_type"),
    [
        (pdf("Mill race"), "report.pdf", "application/pdf"),
        (word("Mill race"), "report.docx", DOCX),
        (b"# Mill race\n\n* closed", "report.md", "text/markdown"),
        ("Größe: 7 µm\r\n\tend\f".encode(), "report.txt", "text/plain"),
        # Names and claims decide nothing.
        (pdf("Mill race"), "report.txt", "application/pdf"),
        (word("Mill race"), "report", DOCX),
        (b"plain words", "report.pdf", "text/plain"),
        (b"MZ is how DOS programs begin", "invoice.exe", "text/plain"),
        (b"This is how a letter begins", "letter.txt", "text/plain"),
        (b"From: a place far away", "letter.txt", "text/plain"),
        (b"%PDF is how this text begins", "report.pdf", "text/plain"),
    ],
)
def test_a_file_is_what_its_content_says(
    author: Caller, content: bytes, name: str, content_type: str
) -> None:
    document = author.upload(content, name)

    assert (document["content_type"], document["filename"]) == (content_type, name)
    assert (document["title"], document["body"]) == (name, None)
    assert document["size"] == len(content)
    assert document["sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "picture.pdf"),
        (b"<!DOCTYPE html><html><script>alert(1)</script></html>", "page.txt"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "drawing.md"),
        (b"{\\rtf1\\ansi words}", "letter.txt"),
        (b"words with a NUL \x00 inside", "notes.txt"),
        (b"terminal \x07 bell", "notes.txt"),
        ("Größe".encode("latin-1"), "notes.txt"),
        (b"cut in the middle of a letter: \xc3", "notes.txt"),
        ("Größe".encode("utf-16"), "notes.txt"),
        (b"x" * 300_000 + b"\xff", "notes.txt"),
        (zipped(**{"a.txt": b"a"}), "report.docx"),
        (zipped(**{"xl/workbook.xml": b"<x/>"}), "report.docx"),
        (b"PK\x03\x04word/document.xml", "report.docx"),
        (repacked(word("x"), **{"word/vbaProject.bin": b"macro"}), "report.docx"),
        (b"MZ\x90\x00\x03\x00\x00\x00", "report.pdf"),
    ],
)
def test_a_file_of_another_kind_is_refused_whatever_its_name(
    author: Caller, content: bytes, name: str
) -> None:
    before = stored_files()

    response = author.post_file(content, name)

    assert response.status_code == 415
    assert response.json()["detail"].startswith("file: ")
    assert stored_files() == before
    assert author.get("/documents").json()["items"] == []


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


WRONG = [{"title": "NUL\x00"}, {"title": " "}, {"tags": ["x" * 51]}, {"a": "b"}]


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_field_of_the_form_is_named(author: Caller, field: dict[str, str]) -> None:
    response = author.post_file(b"words", "a.txt", **field)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith(next(iter(field)))


def test_a_file_over_the_limit_is_413(author: Caller) -> None:
    response = author.post_file(b"x" * settings.max_upload_bytes)

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


def test_a_file_of_several_megabytes_comes_back_whole(author: Caller) -> None:
    content = b"".join(b"%d squared is %d\n" % (n, n * n) for n in range(300_000))

    document = author.upload(content, "squares.txt")

    response = author.get(f"/documents/{document['id']}/download")
    assert hashlib.sha256(response.content).hexdigest() == document["sha256"]
    assert response.content == content


def test_the_same_content_is_stored_once(author: Caller, reviewer: Caller) -> None:
    content = f"unique {uuid4()}".encode()
    before = stored_files()

    for person in (author, reviewer, author):
        person.upload(content, f"{uuid4()}.txt")

    assert stored_files() - before == {hashlib.sha256(content).hexdigest()}


def test_an_upload_repeated_with_its_key_makes_one_document(author: Caller) -> None:
    headers = {"Idempotency-Key": str(uuid4())}

    def post(content: bytes) -> tuple[int, str]:
        files = {"file": ("a.txt", content)}
        response = author.post("/documents/upload", files=files, headers=headers)
        return response.status_code, response.json().get("id")

    assert post(b"words") == post(b"words")
    assert post(b"other words")[0] == 422
    assert len(author.get("/documents").json()["items"]) == 1


NAMES = [
    ("../../../etc/passwd", "passwd"),
    ("..\\..\\windows\\system.ini", "system.ini"),
    ("/etc/shadow", "shadow"),
    ("..", "file"),
    ("a\r\nSet-Cookie: stolen=1", '"a'),
    ("a\tb\x00c\x7fd.txt", "abcd.txt"),
    ('quoted";filename="evil.exe', 'quoted";filename="evil.exe'),
    ("日本語.pdf", "日本語.pdf"),
    ("exe.txt‮fdp", "exe.txtfdp"),
    ("x" * 300 + ".txt", "x" * 196 + ".txt"),
]


@pytest.mark.parametrize(("name", "kept"), NAMES)
def test_a_name_can_do_no_harm(author: Caller, name: str, kept: str) -> None:
    document = saved(author.post("/documents/upload", **form_with(name)))
    assert document["filename"] == kept

    response = author.get(f"/documents/{document['id']}/download")

    found = disposition(response)
    assert re.fullmatch(r"attachment; filename\*=utf-8''[\w.%~-]+", found)
    assert unquote(found).endswith(f"''{kept}")
    assert "set-cookie" not in response.headers


def form_with(name: str) -> dict[str, Any]:
    """A form by hand: clients escape what is wanted here. RFC 2183 quotes with a backslash."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return {"content": head.encode() + b"words\r\n--b--\r\n", "headers": headers}


def disposition(response: Response) -> str:
    return str(response.headers["Content-Disposition"])


def test_a_download_is_never_shown_in_the_page(author: Caller) -> None:
    for document in (author.upload(b"words", "a.md"), author.create(title="<b>/..\\x\r\n")):
        response = author.get(f"/documents/{document['id']}/download")

        assert response.status_code == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert disposition(response).startswith("attachment; ")
        assert response.headers["ETag"] == f'"{document["sha256"]}"'


def test_a_text_document_downloads_as_text(author: Caller) -> None:
    document = author.create(title="Größe", body="Größe: 7 µm")

    response = author.get(f"/documents/{document['id']}/download")

    assert response.text == "Größe: 7 µm"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert unquote(disposition(response)).endswith("''Größe.txt")


def test_a_part_of_a_file_can_be_asked_for(author: Caller) -> None:
    document = author.upload(b"0123456789", "digits.txt")
    path = f"/documents/{document['id']}/download"

    def part(value: str, **headers: str) -> tuple[int, bytes]:
        response = author.get(path, headers={"Range": value, **headers})
        return response.status_code, response.content

    assert part("bytes=2-4") == (206, b"234")
    assert part("bytes=-3") == (206, b"789")
    assert part("bytes=5-", **{"If-Range": f'"{document["sha256"]}"'}) == (206, b"56789")
    assert part("bytes=5-", **{"If-Range": '"another"'}) == (200, b"0123456789")
    assert part("bytes=10-")[0] == 416


def test_an_uploaded_file_takes_no_text_but_a_new_title(author: Caller) -> None:
    document = author.upload(b"words", "a.txt")

    assert author.change(document, body="other words").status_code == 422
    renamed = author.change(document, title="Renamed").json()

    assert (renamed["version"], renamed["sha256"]) == (2, document["sha256"])


def test_a_storage_that_fails_is_503_and_leaves_nothing(
    author: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "storage_url", "file:///dev/null/nowhere")

    response = author.post_file(b"words", "a.txt")

    assert response.status_code == 503
    assert response.json()["code"] == "StorageFailed"
    assert "/dev/null" not in response.text
    assert author.get("/documents").json()["items"] == []


def stored_files() -> set[str]:
    return {path.name for path in STORAGE.rglob("*") if path.is_file()}
