"""The check of stored files for damage and loss."""

from typing import Any
from uuid import uuid4

import pytest

from .conftest import Caller, Login
from .test_uploads import STORAGE_FOLDER


@pytest.fixture
def operator(login: Login) -> Caller:
    return login("*")


def check_all_files(operator: Caller, limit: int = 100) -> dict[str, dict[str, Any]]:
    """Check all files and return the faults by checksum."""
    found: dict[str, dict[str, Any]] = {}
    cursor = ""
    while True:
        page = operator.get("/integrity", params={"limit": limit, "cursor": cursor}).json()
        assert page["checked"] <= limit
        found |= {fault["sha256"]: fault for fault in page["items"]}
        cursor = page["next_cursor"]
        if cursor is None:
            return found


@pytest.mark.parametrize("limit", [100, 1])
def test_a_flipped_byte_and_a_lost_file_are_reported(
    author: Caller, operator: Caller, limit: int
) -> None:
    intact, flipped, lost = (author.upload(f"unique {uuid4()}".encode()) for _ in range(3))
    before = check_all_files(operator)  # other tests damage files, too
    assert not before.keys() & {document["sha256"] for document in (intact, flipped, lost)}
    content = bytearray((STORAGE_FOLDER / flipped["sha256"]).read_bytes())
    content[3] ^= 1
    (STORAGE_FOLDER / flipped["sha256"]).write_bytes(content)
    (STORAGE_FOLDER / lost["sha256"]).unlink()

    after = check_all_files(operator, limit)

    faults = {sha256: fault["fault"] for sha256, fault in after.items() if sha256 not in before}
    assert faults == {flipped["sha256"]: "damaged", lost["sha256"]: "missing"}
    versions = after[flipped["sha256"]]["versions"]
    assert versions == [{"document_id": flipped["id"], "number": 1}]


def test_uploading_the_file_again_repairs_it(author: Caller, operator: Caller) -> None:
    content = f"unique {uuid4()}".encode()
    document = author.upload(content)
    (STORAGE_FOLDER / document["sha256"]).write_bytes(b"damaged")

    author.upload(content)

    assert document["sha256"] not in check_all_files(operator)
    assert author.get(f"/documents/{document['id']}/download").content == content


def test_only_administrators_may_check_the_files(author: Caller) -> None:
    response = author.get("/integrity")

    assert response.status_code == 403
    assert "documents:all" in response.json()["detail"]


@pytest.mark.parametrize("forged", ["x", "InoiCg", "WzFd"])
def test_a_forged_cursor_is_422(operator: Caller, forged: str) -> None:
    response = operator.get("/integrity", params={"cursor": forged})

    assert response.json()["errors"][0]["field"] == "cursor"
