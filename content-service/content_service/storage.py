"""The files: each once, under the SHA-256 of its content; no name from a client becomes a path."""

import hashlib
from contextlib import suppress
from typing import Any, BinaryIO
from uuid import uuid4

import fsspec  # type: ignore[import-untyped]
from fsspec.core import url_to_fs  # type: ignore[import-untyped]

from chassis.errors import Unavailable

from .settings import settings

CHUNK = 256 * 1024


class StorageFailed(Unavailable):
    """The file storage is full, read-only or away."""


def save(source: BinaryIO) -> dict[str, Any]:
    """Keeps the file and returns its size and sha256.

    It is written elsewhere and then renamed: under its final name it is always whole. And it is
    there before the row that names it: a crash leaves a file without a row, never the reverse.
    """
    files, root = url_to_fs(settings.storage_url)
    incoming = f"{root}/incoming/{uuid4().hex}"
    try:
        files.makedirs(f"{root}/incoming", exist_ok=True)
        with files.open(incoming, "wb") as target:
            facts = copy(source, target)
        files.mv(incoming, f"{root}/{facts['sha256']}")
    except OSError as error:
        with suppress(OSError):
            files.rm_file(incoming)
        raise StorageFailed("The file storage does not take files now") from error
    return facts


def copy(source: BinaryIO, target: BinaryIO) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    source.seek(0)
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        size += target.write(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


def local_path(sha256: str) -> str:
    """Where the file is on this machine. FileNotFoundError when it is lost."""
    path: str = fsspec.open_local(f"{settings.storage_url}/{sha256}")
    return path
