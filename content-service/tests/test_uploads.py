"""Uploading and downloading files."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
from httpx2 import Response

from content_service.cleanup import tidy_up
from content_service.settings import settings

from .conftest import Caller, expect_created
from .files import make_docx, make_pdf, make_pptx, make_xlsx, make_zip, repack

OFFICE = "application/vnd.openxmlformats-officedocument"
DOCX = f"{OFFICE}.wordprocessingml.document"
XLSX = f"{OFFICE}.spreadsheetml.sheet"
PPTX = f"{OFFICE}.presentationml.presentation"
STORAGE_FOLDER = Path(urlsplit(settings.storage_url).path)


@pytest.mark.parametrize(
    ("content", "name", "content_type"),
    [
        (make_pdf("Mill race"), "report.pdf", "application/pdf"),
        (make_docx("Mill race"), "report.docx", DOCX),
        (make_xlsx({"Costs": [["Mill", 1]]}), "costs.xlsx", XLSX),
        (make_pptx("Mill race"), "talk.pptx", PPTX),
        (b"<!DOCTYPE html><html><p>Mill race</p></html>", "page.html", "text/html"),
        (b"# Mill race\n\n* closed", "report.md", "text/markdown"),
        ("Größe: 7 µm\r\n\tend\f".encode(), "report.txt", "text/plain"),
        # Names and claims decide nothing.
        (make_pdf("Mill race"), "report.txt", "application/pdf"),
        (make_docx("Mill race"), "report", DOCX),
        (make_xlsx({"Costs": [["Mill", 1]]}), "costs.docx", XLSX),
        (b"\n <HTML><p>Mill race</p>", "page.txt", "text/html"),
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


def test_a_slide_show_with_a_workbook_in_it_is_a_slide_show(author: Caller) -> None:
    """Though the workbook's own names are in it as they are, uncompressed and near the end."""
    show = io.BytesIO(make_pptx("Mill race"))
    with zipfile.ZipFile(show, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("ppt/embeddings/costs.xlsx", make_xlsx({"Costs": [["Mill", 1]]}))
        archive.comment = b"as some writers leave it"

    document = author.upload(show.getvalue())

    assert document["content_type"] == PPTX


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "picture.pdf"),
        (b"<!DOCTYPE html><html>\xff</html>", "page.html"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "drawing.md"),
        (b"{\\rtf1\\ansi words}", "letter.txt"),
        (b"words with a NUL \x00 inside", "notes.txt"),
        (b"terminal \x07 bell", "notes.txt"),
        ("Größe".encode("latin-1"), "notes.txt"),
        (b"cut in the middle of a letter: \xc3", "notes.txt"),
        ("Größe".encode("utf-16"), "notes.txt"),
        (b"x" * 300_000 + b"\xff", "notes.txt"),
        (make_zip(**{"a.txt": b"a"}), "report.docx"),
        (make_zip(**{"xl/other.xml": b"<x/>"}), "report.xlsx"),
        (b"PK\x03\x04word/document.xml", "report.docx"),
        (make_docx("x")[:-1], "cut.docx"),
        (b"PK\x03\x04" + b"PK\x05\x06" + b"\xff" * 18, "endless.docx"),
        (repack(make_docx("x"), **{"word/vbaProject.bin": b"macro"}), "report.docx"),
        (b"MZ\x90\x00\x03\x00\x00\x00", "report.pdf"),
    ],
)
def test_a_file_of_another_kind_is_refused_whatever_its_name(
    author: Caller, content: bytes, name: str
) -> None:
    before = list_stored_files()

    response = author.post_file(content, name)

    assert response.status_code == 415
    assert response.json()["detail"].startswith("file: ")
    assert list_stored_files() == before
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


WRONG_FIELDS = [{"title": "NUL\x00"}, {"title": " "}, {"tags": ["x" * 51]}, {"a": "b"}]


@pytest.mark.parametrize("field", WRONG_FIELDS)
def test_a_wrong_field_of_the_form_is_named(author: Caller, field: dict[str, str]) -> None:
    response = author.post_file(b"words", "a.txt", **field)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith(next(iter(field)))


def test_a_file_over_the_limit_is_413(author: Caller) -> None:
    """Refused by the length it announces, before it is read."""
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


def test_a_file_of_several_megabytes_comes_back_whole(author: Caller) -> None:
    content = b"".join(b"%d squared is %d\n" % (n, n * n) for n in range(300_000))

    document = author.upload(content, "squares.txt")

    response = author.get(f"/documents/{document['id']}/download")
    assert hashlib.sha256(response.content).hexdigest() == document["sha256"]
    assert response.content == content


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
    document = expect_created(author.post("/documents/upload", **build_form(name)))
    assert document["filename"] == kept

    response = author.get(f"/documents/{document['id']}/download")

    found = get_disposition(response)
    assert re.fullmatch(r"attachment; filename\*=utf-8''[\w.%~-]+", found)
    assert unquote(found).endswith(f"''{kept}")
    assert "set-cookie" not in response.headers


def build_form(name: str) -> dict[str, Any]:
    """A form by hand: clients escape what is wanted here. RFC 2183 quotes with a backslash."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return {"content": head.encode() + b"words\r\n--b--\r\n", "headers": headers}


def get_disposition(response: Response) -> str:
    return str(response.headers["Content-Disposition"])


def test_a_download_is_never_shown_in_the_page(author: Caller) -> None:
    for document in (author.upload(b"words", "a.md"), author.create(title="<b>/..\\x\r\n")):
        response = author.get(f"/documents/{document['id']}/download")

        assert response.status_code == 200
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert get_disposition(response).startswith("attachment; ")
        assert response.headers["ETag"] == f'"{document["sha256"]}"'


def test_a_text_document_downloads_as_text(author: Caller) -> None:
    document = author.create(title="Größe", body="Größe: 7 µm")

    response = author.get(f"/documents/{document['id']}/download")

    assert response.text == "Größe: 7 µm"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert unquote(get_disposition(response)).endswith("''Größe.txt")


@pytest.mark.parametrize("kind", ["file", "text"])
def test_a_part_of_a_file_can_be_asked_for(author: Caller, kind: str) -> None:
    digits = "0123456789"
    as_file = kind == "file"
    document = author.upload(digits.encode()) if as_file else author.create(body=digits)
    path = f"/documents/{document['id']}/download"

    def part(value: str, **headers: str) -> tuple[int, bytes, str | None]:
        response = author.get(path, headers={"Range": value, **headers})
        return response.status_code, response.content, response.headers.get("Content-Range")

    whole = (200, digits.encode(), None)
    assert part("bytes=2-4") == (206, b"234", "bytes 2-4/10")
    assert part("bytes=0-9") == (206, b"0123456789", "bytes 0-9/10")
    assert part("bytes=-3") == (206, b"789", "bytes 7-9/10")
    assert part("bytes=-99") == (206, b"0123456789", "bytes 0-9/10")
    assert part("bytes=8-99") == (206, b"89", "bytes 8-9/10")
    assert part("bytes=5-", **{"If-Range": f'"{document["sha256"]}"'})[:2] == (206, b"56789")
    assert part("bytes=5-", **{"If-Range": '"another"'}) == whole
    for what_is_no_range in ("bytes=4-2", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=1-2,4-5"):
        assert part(what_is_no_range) == whole


@pytest.mark.parametrize("beyond", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_part_beyond_the_end_is_416(author: Caller, beyond: str) -> None:
    document = author.upload(b"0123456789", "digits.txt")

    response = author.get(f"/documents/{document['id']}/download", headers={"Range": beyond})

    assert (response.status_code, response.json()["code"]) == (416, "RangeNotSatisfiable")
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Content-Range"] == "bytes */10"


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


def test_a_second_upload_of_a_file_names_the_first(author: Caller, stranger: Caller) -> None:
    content = make_pdf(str(uuid4()))
    first = author.upload(content)

    second, other = author.upload(content, "other name"), stranger.upload(content)

    assert (first["duplicate_of"], second["duplicate_of"]) == (None, first["id"])
    assert other["duplicate_of"] is None  # what others have is nobody's business
    author.delete(f"/documents/{first['id']}")
    assert author.upload(content)["duplicate_of"] == second["id"]


def test_duplicates_are_refused_where_that_is_set(
    author: Caller, stranger: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "duplicates", "reject")
    content = make_pdf(str(uuid4()))
    first = author.upload(content)

    with ThreadPoolExecutor(5) as threads:
        answers = [*threads.map(lambda _: author.post_file(content), range(5))]

    assert {answer.status_code for answer in answers} == {409}
    assert (answers[0].json()["code"], first["id"] in answers[0].text) == ("DuplicateFile", True)
    assert stranger.post_file(content).status_code == 201


def test_a_file_that_is_had_already_takes_no_other_ones_place_where_that_is_set(
    author: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "duplicates", "reject")
    content = make_pdf(str(uuid4()))
    first, other = author.upload(content), author.upload(make_pdf(str(uuid4())))

    def put(document: dict[str, Any]) -> Response:
        path, etag = f"/documents/{document['id']}/file", {"If-Match": '"1"'}
        return author.put(path, files={"file": ("a.pdf", content)}, headers=etag)

    assert put(other).json()["code"] == "DuplicateFile"
    assert put(first).status_code == 200


def test_of_parallel_uploads_of_a_file_one_is_the_first(
    author: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "duplicates", "reject")
    content = make_pdf(str(uuid4()))

    with ThreadPoolExecutor(10) as threads:
        answers = [*threads.map(lambda _: author.post_file(content), range(10))]

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9


def test_a_file_that_the_storage_lost_is_503(author: Caller) -> None:
    document = author.upload(f"unique {uuid4()}".encode())
    (STORAGE_FOLDER / document["sha256"]).unlink()

    response = author.get(f"/documents/{document['id']}/download")

    assert (response.status_code, response.json()["code"]) == (503, "StorageFailed")


def test_a_store_elsewhere_is_a_setting(author: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any that fsspec knows; this one is the memory of the process."""
    monkeypatch.setattr(settings, "storage_url", "memory://bucket/files")
    content = make_pdf("Kept elsewhere")

    document = author.upload(content)
    tidy_up()

    response = author.get(f"/documents/{document['id']}/download")
    assert response.content == content
    part = author.get(f"/documents/{document['id']}/download", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"%PDF")
    assert author.process(document)["text"].strip() == "Kept elsewhere"


def list_stored_files() -> set[str]:
    return {path.name for path in STORAGE_FOLDER.rglob("*") if path.is_file()}
