"""Failures of a remote store, whose library raises exceptions of its own."""

from collections.abc import Iterator
from errno import EIO
from io import RawIOBase
from typing import Any, NoReturn
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]
import pytest
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]

from .conftest import Caller, ChangeSettings, Login


class DriverError(Exception):
    """Stands for an error of botocore, which is no OSError."""


class Store(MemoryFileSystem):  # type: ignore[misc]
    """Keeps files in memory; a test can make it fail or damage its blocks."""

    protocol = "store"
    failure: Exception | None = None
    bad_blocks: set[str] = set()  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("store://")))

    def _open(self, path: str, *args: Any, **kwargs: Any) -> Any:
        if self.failure:
            raise self.failure
        is_bad = path.rpartition("/")[2] in self.bad_blocks
        return Unreadable() if is_bad else super()._open(path, *args, **kwargs)


class Unreadable(RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> NoReturn:
        raise OSError(EIO, "Input/output error")


fsspec.register_implementation("store", Store)


@pytest.fixture(autouse=True)
def store(change_settings: ChangeSettings) -> Iterator[type[Store]]:
    change_settings(storage_url="store://bucket/files")
    yield Store
    Store.failure = None
    Store.bad_blocks.clear()


@pytest.mark.parametrize("failure", [DriverError("no route to host"), TimeoutError(), OSError()])
def test_an_unreachable_store_is_503_and_leaves_nothing(
    author: Caller, login: Login, store: type[Store], failure: Exception
) -> None:
    document = author.upload(f"unique {uuid4()}".encode())
    store.failure = failure

    answers = [
        author.post_file(b"words"),
        author.get(f"/documents/{document['id']}/download"),
        login("*").get("/integrity"),
    ]

    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.json()["code"] for answer in answers} == {"StorageFailed"}
    assert "no route" not in "".join(answer.text for answer in answers)
    assert [item["id"] for item in author.get("/documents").json()["items"]] == [document["id"]]


def test_an_unreadable_file_is_reported_as_damaged(
    author: Caller, login: Login, store: type[Store]
) -> None:
    document = author.upload(f"unique {uuid4()}".encode())
    store.bad_blocks.add(document["sha256"])

    found: dict[str, str] = {}
    cursor = ""
    while cursor is not None:
        page = login("*").get("/integrity", params={"cursor": cursor}).json()
        found |= {fault["sha256"]: fault["fault"] for fault in page["items"]}
        cursor = page["next_cursor"]

    assert found[document["sha256"]] == "damaged"
