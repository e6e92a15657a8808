"""Stores uploaded files: each content once, under its SHA-256; no name from a client is a path.

The location is a URL that fsspec understands: a local folder or an S3-compatible store. A file is
in use while a version names it; uses are counted when needed, so the count is never wrong. Saving
and removing a file hold its lock until the end of the transaction: no file is removed while it is
about to be used, and none is used while it is about to be removed.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from tempfile import TemporaryFile
from typing import Any, BinaryIO, NamedTuple
from uuid import uuid4

from fsspec.core import url_to_fs  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from sqlalchemy import Select, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from chassis.clock import now
from chassis.errors import Unavailable

from ..models import Version

CHUNK_BYTES = 256 * 1024
TRANSFER_BLOCK_BYTES = 8 * 1024**2  # sent to or read from a remote store at a time
MAX_UPLOAD_DURATION = timedelta(days=1)
FILE_NAME_PATTERN = re.compile(r"[0-9a-f]{64}")  # other files in the folder are not ours
LOOKUP_BATCH_SIZE = 1000
READ_FAILED_MESSAGE = "The file storage cannot read this file now"


class StorageFailed(Unavailable):
    """Raised when the file storage is full, read-only or unreachable, or has lost the file."""


class StoredFile(NamedTuple):
    size: int
    sha256: str


@dataclass(frozen=True)
class FileStorage:
    """Keeps the files of one storage URL."""

    url: str

    def save(self, session: Session, source: BinaryIO) -> StoredFile:
        """Store the file; it stays if the transaction commits.

        It is written elsewhere and then renamed, so under its final name it is always complete.
        It is stored before the row that names it: a crash leaves a file without a row, which the
        cleanup removes, never a row without its file.
        """
        with translate_failures("The file storage cannot take files now"):
            files, root = self._open()
            incoming = f"{root}/incoming/{uuid4().hex}"
            try:
                stored = write_file(source, files, incoming)
                lock_file(session, stored.sha256)
                files.mv(incoming, f"{root}/{stored.sha256}")
                if isinstance(files, LocalFileSystem):
                    sync_folder(root)
            except Exception:
                with suppress(Exception):  # it may not exist
                    files.rm_file(incoming)
                raise
        return stored

    def open(self, sha256: str) -> BinaryIO:
        with translate_failures(READ_FAILED_MESSAGE):
            files, root = self._open()
            file: BinaryIO = files.open(f"{root}/{sha256}", "rb", block_size=TRANSFER_BLOCK_BYTES)
        return file

    @contextmanager
    def copy_to_local_file(self, sha256: str) -> Iterator[BinaryIO]:
        """Copy the file to a temporary file, which another process can read."""
        with TemporaryFile() as local:
            with translate_failures(READ_FAILED_MESSAGE), self.open(sha256) as file:
                copy_and_hash(file, local)
            local.seek(0)
            yield local

    def remove_abandoned_uploads(self) -> None:
        """Remove the parts of uploads whose process died."""
        files, root = self._open()
        for path in files.find(f"{root}/incoming"):
            if is_old(files, path):
                with suppress(FileNotFoundError):  # another process was faster
                    files.rm_file(path)

    def find_unused(self, session: Session) -> Iterator[str]:
        """Yield the files that no version names, unless an upload may be about to name them."""
        files, root = self._open()
        found = (path.rpartition("/")[2] for path in files.find(root, maxdepth=1))
        names = [name for name in found if FILE_NAME_PATTERN.fullmatch(name)]
        for start in range(0, len(names), LOOKUP_BATCH_SIZE):
            batch = names[start : start + LOOKUP_BATCH_SIZE]
            for name in set(batch) - set(session.scalars(select_used(batch))):
                if is_old(files, f"{root}/{name}"):
                    yield name

    def remove_if_unused(self, session: Session, sha256: str) -> None:
        """Check again under the lock, so that no upload can begin to use the file."""
        lock_file(session, sha256)
        if session.scalar(select_used([sha256]).limit(1)) is None:
            files, root = self._open()
            with suppress(FileNotFoundError):  # another process was faster
                files.rm_file(f"{root}/{sha256}")

    def _open(self) -> tuple[Any, str]:
        """Return the file system and the folder; not cached, as other processes write there."""
        files, root = url_to_fs(self.url, use_listings_cache=False)
        return files, root


@contextmanager
def translate_failures(message: str) -> Iterator[None]:
    """Raise StorageFailed for any error: a store's library may raise exceptions of every kind."""
    try:
        yield
    except (StorageFailed, SQLAlchemyError):
        raise
    except Exception as error:
        raise StorageFailed(message) from error


def write_file(source: BinaryIO, files: Any, path: str) -> StoredFile:
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    with files.open(path, "wb", block_size=TRANSFER_BLOCK_BYTES) as target:
        stored = copy_and_hash(source, target)
        if isinstance(files, LocalFileSystem):
            target.flush()
            os.fsync(target.fileno())
    return stored


def copy_and_hash(source: BinaryIO, target: BinaryIO) -> StoredFile:
    digest = hashlib.sha256()
    size = 0
    source.seek(0)
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        size += target.write(chunk)
    return StoredFile(size, digest.hexdigest())


def sync_folder(folder: str) -> None:
    """Write the folder to disk: only then does a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_file(session: Session, sha256: str) -> None:
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(sha256, 0))))


def is_old(files: Any, path: str) -> bool:
    """Return whether the upload of this file must have ended by now."""
    try:
        return bool(now() - files.modified(path) > MAX_UPLOAD_DURATION)
    except FileNotFoundError:  # another process has just moved or removed it
        return False


def select_used(names: list[str]) -> Select[str]:
    return select(Version.sha256).where(Version.sha256.in_(names), Version.body.is_(None))
