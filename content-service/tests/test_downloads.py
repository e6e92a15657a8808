"""Downloads: whole or in part, as attachments."""

import hashlib
from urllib.parse import unquote
from uuid import uuid4

import pytest
from httpx2 import Response

from .conftest import Caller
from .test_uploads import STORAGE_FOLDER


def test_a_file_of_several_megabytes_comes_back_whole(author: Caller) -> None:
    content = b"".join(b"%d squared is %d\n" % (n, n * n) for n in range(300_000))

    document = author.upload(content, "squares.txt")

    response = author.get(f"/documents/{document['id']}/download")
    assert hashlib.sha256(response.content).hexdigest() == document["sha256"]
    assert response.content == content


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
def test_a_part_of_a_file_can_be_requested(author: Caller, kind: str) -> None:
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


def test_a_file_that_the_storage_lost_is_503(author: Caller) -> None:
    document = author.upload(f"unique {uuid4()}".encode())
    (STORAGE_FOLDER / document["sha256"]).unlink()

    response = author.get(f"/documents/{document['id']}/download")

    assert (response.status_code, response.json()["code"]) == (503, "StorageFailed")
