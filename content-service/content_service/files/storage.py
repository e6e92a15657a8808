"""The files: each once, under the SHA-256 of its content; no name from a client becomes a path.

Where they are is a URL that fsspec understands: a local folder, or an S3-compatible store. How
often a file is used is counted when it matters, in the versions that name it, so that the count is
never wrong. Whoever saves or removes a file holds its lock until the end of the transaction: a file
that is about to be named is not removed, and one that is about to be removed is not named.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryFile
from typing import Any, BinaryIO
from uuid import uuid4

from fsspec.core import url_to_fs  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from sqlalchemy import Select, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from chassis.errors import Unavailable

from ..models import Version
from ..settings import settings

CHUNK_BYTES = 256 * 1024
TRANSFER_BLOCK_BYTES = 8 * 1024**2  # of what goes to or comes from another machine at a time
MAX_UPLOAD_DURATION = timedelta(days=1)
FILE_NAME_PATTERN = re.compile(r"[0-9a-f]{64}")  # whatever else is in the folder is somebody else's
LOOKUP_BATCH_SIZE = 1000
READ_FAILED_MESSAGE = "The file storage does not give this file now"


class StorageFailed(Unavailable):
    """The file storage is full, read-only or away, or has lost the file."""


def open_file_system() -> tuple[Any, str]:
    """The file system and our folder in it; it keeps no list of files, since others write too."""
    files, root = url_to_fs(settings.storage_url, use_listings_cache=False)
    return files, root


def save_file(session: Session, source: BinaryIO) -> dict[str, Any]:
    """Keeps the file and returns its size and sha256; it stays if the transaction commits.

    It is written elsewhere and then renamed: under its final name it is always whole. And it is
    there before the row that names it: a crash leaves a file without a row, for housekeeping to
    remove, never the reverse.
    """
    with translate_failures("The file storage does not take files now"):
        files, root = open_file_system()
        incoming = f"{root}/incoming/{uuid4().hex}"
        try:
            facts = write_file(source, files, incoming)
            lock_file(session, facts["sha256"])
            files.mv(incoming, f"{root}/{facts['sha256']}")
            if isinstance(files, LocalFileSystem):
                sync_folder(root)
        except Exception:
            with suppress(Exception):  # it may never have been there
                files.rm_file(incoming)
            raise
    return facts


@contextmanager
def translate_failures(message: str) -> Iterator[None]:
    """As StorageFailed: a store may raise anything of the libraries that it is reached with."""
    try:
        yield
    except (StorageFailed, SQLAlchemyError):
        raise
    except Exception as error:
        raise StorageFailed(message) from error


def write_file(source: BinaryIO, files: Any, path: str) -> dict[str, Any]:
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    with files.open(path, "wb", block_size=TRANSFER_BLOCK_BYTES) as target:
        facts = copy_and_hash(source, target)
        if isinstance(files, LocalFileSystem):
            target.flush()
            os.fsync(target.fileno())
    return facts


def lock_file(session: Session, sha256: str) -> None:
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(sha256, 0))))


def sync_folder(folder: str) -> None:
    """A rename outlives a power cut only once its folder is on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_and_hash(source: BinaryIO, target: BinaryIO) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    source.seek(0)
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        size += target.write(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


def open_file(sha256: str) -> BinaryIO:
    """The file, to be read and closed."""
    with translate_failures(READ_FAILED_MESSAGE):
        files, root = open_file_system()
        file: BinaryIO = files.open(f"{root}/{sha256}", "rb", block_size=TRANSFER_BLOCK_BYTES)
    return file


@contextmanager
def make_local_copy(sha256: str) -> Iterator[BinaryIO]:
    """The file as one of this machine's own, which another process can read."""
    with TemporaryFile() as local:
        with translate_failures(READ_FAILED_MESSAGE), open_file(sha256) as file:
            copy_and_hash(file, local)
        local.seek(0)
        yield local


def remove_abandoned_uploads() -> None:
    """Uploads that never ended, since their process died."""
    files, root = open_file_system()
    for path in files.find(f"{root}/incoming"):
        if is_old(files, path):
            with suppress(FileNotFoundError):  # another process was faster
                files.rm_file(path)


def is_old(files: Any, path: str) -> bool:
    """Whether no upload can have to do with it any more."""
    try:
        return bool(datetime.now(UTC) - files.modified(path) > MAX_UPLOAD_DURATION)
    except FileNotFoundError:  # it was just moved to its place, or removed
        return False


def find_unused_files(session: Session) -> Iterator[str]:
    """The files that no version names, and that have been here for a while."""
    files, root = open_file_system()
    found = (path.rpartition("/")[2] for path in files.find(root, maxdepth=1))
    names = [name for name in found if FILE_NAME_PATTERN.fullmatch(name)]
    for start in range(0, len(names), LOOKUP_BATCH_SIZE):
        batch = names[start : start + LOOKUP_BATCH_SIZE]
        for name in set(batch) - set(session.scalars(select_uses(batch))):
            if is_old(files, f"{root}/{name}"):
                yield name


def remove_if_unused(session: Session, sha256: str) -> None:
    """Asks once more, under the lock: nobody can begin to use the file now."""
    lock_file(session, sha256)
    if session.scalar(select_uses([sha256]).limit(1)) is None:
        files, root = open_file_system()
        with suppress(FileNotFoundError):  # another process was faster
            files.rm_file(f"{root}/{sha256}")


def select_uses(names: list[str]) -> Select[str]:
    return select(Version.sha256).where(Version.sha256.in_(names), Version.body.is_(None))
