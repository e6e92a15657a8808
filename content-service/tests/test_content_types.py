"""The types of uploaded files, detected by their content, and safe names."""

import hashlib
import io
import re
import zipfile
from typing import Any
from urllib.parse import unquote

import pytest

from .conftest import Caller, expect_created
from .files import make_docx, make_pdf, make_pptx, make_xlsx, make_zip, repack
from .test_downloads import get_disposition
from .test_uploads import list_stored_files

OFFICE = "application/vnd.openxmlformats-officedocument"


DOCX = f"{OFFICE}.wordprocessingml.document"


XLSX = f"{OFFICE}.spreadsheetml.sheet"


PPTX = f"{OFFICE}.presentationml.presentation"


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
        # The name does not decide.
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
    """The names of the workbook's parts are in the file too, uncompressed and near the end."""
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
    """Build a form by hand, since clients escape the name. RFC 2183 quotes with a backslash."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{escaped}"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return {"content": head.encode() + b"words\r\n--b--\r\n", "headers": headers}
