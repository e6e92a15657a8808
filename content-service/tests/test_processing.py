"""Processing: the text of a document, or the reason of a failure."""

import io
import re
import zipfile

import pytest
from httpx2 import Response
from sqlalchemy import update

from content_service.database import engine
from content_service.models import Document

from .conftest import Caller, ChangeSettings
from .files import (
    make_bomb,
    make_docx,
    make_encrypted_pdf,
    make_pdf,
    make_pptx,
    make_xlsx,
    make_zip,
    repack,
)


def test_a_document_that_was_never_processed_is_404(author: Caller) -> None:
    document = author.create()

    response = author.get(f"/documents/{document['id']}/processing")

    assert (response.status_code, response.json()["code"]) == (404, "NeverProcessed")


def test_a_request_is_queued_and_then_done(author: Caller) -> None:
    document = author.upload(make_pdf("Closing the mill race", "costs money"))

    response = author.post(f"/documents/{document['id']}/process")

    assert response.status_code == 202
    queued = response.json()
    assert (queued["status"], queued["attempts"], queued["text"]) == ("queued", 0, None)
    done = author.wait_for_outcome(document)
    assert (
        done.items()
        >= {
            "document_id": document["id"],
            "version": 1,
            "status": "done",
            "attempts": 1,
            "error": None,
            "word_count": 6,
            "page_count": 2,
            "sha256": document["sha256"],
            "stale": False,
        }.items()
    )
    assert done["text"].split() == ["Closing", "the", "mill", "race", "costs", "money"]
    assert done["finished_at"] > document["created_at"]


@pytest.mark.parametrize(
    ("content", "text", "words"),
    [
        (
            make_docx("Closing", "the race", cells=("costs", "money")),
            "Closing\nthe race\ncosts\nmoney",
            5,
        ),
        ("# Größe\n\n* 7 µm".encode(), "# Größe\n\n* 7 µm", 5),
        (b"\xef\xbb\xbfmarked", "marked", 1),
        (make_encrypted_pdf(""), "Confidential figures", 2),
        (make_pdf(""), "", 0),
        (
            make_xlsx({"Costs": [["Mill", 12.5], [None, "race"]], "Empty": []}),
            "Costs\nMill\t12.5\nrace\nEmpty",
            5,
        ),
        (make_pptx("Closing the race", notes="Say why"), "Closing the race\nSay why", 5),
        (
            b"<!DOCTYPE html><title>Mill</title><style>p {}</style><p>Gr\xc3\xb6&szlig;e <b>7</b>",
            "Mill\nGr\u00f6\u00dfe 7",
            3,
        ),
    ],
)
def test_every_kind_of_file_gives_its_text(
    author: Caller, content: bytes, text: str, words: int
) -> None:
    done = author.process(author.upload(content))

    assert (done["status"], done["text"].strip(), done["word_count"]) == ("done", text, words)


def test_a_text_document_is_its_own_text(author: Caller) -> None:
    done = author.process(author.create(body="three short words"))

    assert (done["text"], done["word_count"], done["page_count"]) == ("three short words", 3, None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (make_encrypted_pdf("secret"), "encrypted"),
        (b"%PDF-1.7\nand nothing that follows from it", "broken"),
        (make_pdf("cut")[:400], "broken"),
        (repack(make_docx("x"), **{"word/document.xml": b"<w:document"}), "broken"),
        (repack(make_docx("x"), **{"[Content_Types].xml": b""}), "broken"),
        (make_zip(**{"xl/workbook.xml": b"<x/>"}), "broken"),
        (make_zip(**{"ppt/presentation.xml": b"<x/>"}), "broken"),
        (repack(make_xlsx({"A": [["x"]]}), **{"xl/worksheets/sheet1.xml": b"<w"}), "broken"),
    ],
    ids=[
        "encrypted",
        "not a PDF",
        "cut",
        "not XML",
        "no package",
        "no sheets",
        "no slides",
        "cut sheet",
    ],
)
def test_a_file_that_cannot_be_read_fails_with_the_reason(
    author: Caller, content: bytes, reason: str
) -> None:
    failed = author.process(author.upload(content))

    assert (failed["status"], failed["attempts"], failed["text"]) == ("failed", 1, None)
    assert reason in failed["error"]
    assert failed["finished_at"]


@pytest.mark.parametrize("kind", ["docx", "xlsx", "pptx", "pdf"])
def test_a_bomb_takes_nothing_down(
    author: Caller, kind: str, change_settings: ChangeSettings
) -> None:
    change_settings(extraction_memory_bytes=200 * 1024**2)
    content = make_bomb(kind, 200 * 1024**2)
    assert len(content) < 2 * 1024**2

    failed = author.process(author.upload(content))

    error = "reading the file takes too much memory"
    assert (failed["status"], failed["error"]) == ("failed", error)
    assert author.process(author.create())["status"] == "done"


def test_a_sheet_that_claims_a_billion_cells_is_only_as_large_as_it_is(author: Caller) -> None:
    content = make_xlsx({"A": [["only this"]]})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml")
    claim = re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:XFD1048576"', sheet)
    assert claim != sheet

    done = author.process(author.upload(repack(content, **{"xl/worksheets/sheet1.xml": claim})))

    assert done["text"] == "A\nonly this"


@pytest.mark.parametrize(
    ("text", "language"),
    [("The mill race was closed because of what it costs", "en"),
     ("Der Mühlgraben wurde wegen der Kosten geschlossen", "de"),
     ("Le bief du moulin a été fermé à cause de ce qu'il coûte", "fr"),
     ("", None)],
)  # fmt: skip
def test_the_language_is_detected(author: Caller, text: str, language: str | None) -> None:
    assert author.process(author.create(body=text))["language"] == language


def test_two_requests_process_a_document_once(author: Caller) -> None:
    document = author.upload(make_pdf("Once"))
    first = author.process(document)

    second = author.post(f"/documents/{document['id']}/process")

    assert second.status_code == 202
    assert second.json() == first


def test_a_stored_response_is_only_for_users_who_may_still_see_the_document(
    author: Caller, reviewer: Caller
) -> None:
    document = author.create(body="For a while")
    author.share(document, reviewer)
    author.process(document)

    def ask() -> Response:
        path = f"/documents/{document['id']}/process"
        return reviewer.post(path, headers={"Idempotency-Key": "once"})

    first = ask()
    again = ask()
    assert (again.headers["Idempotent-Replayed"], again.json()) == ("true", first.json())

    author.delete(f"/documents/{document['id']}/permissions/{reviewer.user_id}")

    refused = ask()
    assert (refused.status_code, refused.json()["code"]) == (404, "UnknownDocument")


def test_the_same_content_is_not_read_again_for_a_new_version(author: Caller) -> None:
    document = author.upload(make_pdf("Once and for all"))
    first = author.process(document)
    renamed = author.change(document, title="Renamed").json()
    assert author.wait_for_outcome(document)["stale"]

    again = author.post(f"/documents/{document['id']}/process").json()

    assert again == {**first, "version": renamed["version"]}


def test_a_result_is_stale_when_the_document_moved_on(author: Caller) -> None:
    document = author.create(body="one")
    author.process(document)

    author.change(document, body="one two")

    path = f"/documents/{document['id']}/processing"
    old = author.get(path).json()
    assert (old["version"], old["stale"], old["word_count"]) == (1, True, 1)
    new = author.process(document)
    assert (new["version"], new["stale"], new["word_count"]) == (2, False, 2)


def test_a_version_restored_while_it_was_extracted_is_found_after_a_request(author: Caller) -> None:
    """Neither the restore nor the extraction saw the other's change."""
    document = author.upload(make_pdf("Headrace and tailrace"))
    author.process(document)
    with engine.begin() as connection:
        row = update(Document).where(Document.id == document["id"])
        connection.execute(row.values(extracted=None))

    author.process(document)

    found = author.get("/search", params={"q": "tailrace"}).json()["items"]
    assert [item["id"] for item in found] == [document["id"]]


@pytest.mark.parametrize("tags", [["a"], []])
def test_text_of_a_file_is_found_by_search_whatever_its_title_became(
    author: Caller, tags: list[str]
) -> None:
    document = author.upload(make_pdf("Sluices and penstocks"))
    author.process(document)

    author.change(document, title="Renamed", tags=tags)

    found = author.get("/search", params={"q": "penstock"}).json()["items"]
    assert [(item["id"], item["title"]) for item in found] == [(document["id"], "Renamed")]
