"""Reading documents for their text: claims rows of the queue of record, one by one."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import Any, BinaryIO

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from chassis.job_queue import (
    DONE,
    RetryPolicy,
    claim_jobs,
    finish_job,
    mark_exhausted_dead,
    renew_lease,
    retry_job,
)
from chassis.tracing import trace_context

from ..database import session_maker
from ..files import storage
from ..models import Document, Processing, Version, now
from ..settings import settings
from .service import FAILED

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=settings.extraction_seconds + 5)
POLICY = RetryPolicy(max_attempts=5, max_delay=60)
SAMPLE = 10_000  # characters that tell the language

# What the person whose file it is gets to read.
DEADLY = "the service itself ended each time that it read the file"
KILLED = "the reading was stopped from outside, as happens when memory is short"
UNKNOWN = "something failed in the service, whose log says what"

CHILD = [sys.executable, "-I", str(Path(__file__).with_name("extractor.py"))]


class Unreadable(Exception):
    """The file is at fault, so that trying again is of no use."""


class ReaderKilled(Exception):
    """By the operating system, when memory is short, or by an operator: it may work next time."""


def read_next() -> bool:
    """False when nothing was due."""
    with session_maker.begin() as session:
        give_up(session)
        claimed = claim_jobs(session, Processing, limit=1, lease=LEASE)
    for row in claimed:
        with trace_context(row.trace_id), kept(row):
            process(row)
    return bool(claimed)


def give_up(session: Session) -> None:
    """Of what takes down whoever reads it."""
    hopeless = mark_exhausted_dead(session, Processing, POLICY.max_attempts, DEADLY)
    if hopeless:
        failed = update(Processing).where(Processing.id.in_(hopeless))
        session.execute(failed.values(status=FAILED, finished_at=now()))


@contextmanager
def kept(row: Processing) -> Iterator[None]:
    """Renews the lease meanwhile: only the reading has a time limit, not the way of the file."""
    over = Event()
    Thread(target=renew_until, args=[over, row], name="lease", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def renew_until(over: Event, row: Processing) -> None:
    while not over.wait(LEASE.total_seconds() / 3):
        with suppress(SQLAlchemyError), session_maker.begin() as session:
            renew_lease(session, row, LEASE)


def process(row: Processing) -> None:
    try:
        save(row, DONE, **read(row))
    except Unreadable as error:
        save(row, FAILED, last_error=str(error))
    except Exception as error:
        logger.exception("document %s could not be processed", row.document_id)
        is_explained = isinstance(error, ReaderKilled | storage.StorageFailed)
        put_back(row, str(error) if is_explained else UNKNOWN)


def read(row: Processing) -> dict[str, Any]:
    """The text and its figures. Raises Unreadable when there is no hope of getting them."""
    with session_maker() as session:
        version = session.get_one(Version, (row.document_id, row.version))
    with content_of(version) as file:
        found = run_child(file, version.content_type)
    if found.pop("sha256") != version.sha256:
        raise Unreadable("the stored file is damaged: its checksum is not that of the upload")
    return {**found, "language": language_of(found["text"])}


@contextmanager
def content_of(version: Version) -> Iterator[BinaryIO]:
    if version.body is None:
        with storage.local_copy(version.sha256) as file:
            yield file
    else:
        with TemporaryFile() as file:
            file.write(version.body.encode())
            file.seek(0)
            yield file


def run_child(file: BinaryIO, content_type: str) -> dict[str, Any]:
    """A broken, hostile or huge file can only ever take this child down."""
    seconds = settings.extraction_seconds
    limits = [settings.extraction_memory_bytes, round(seconds) + 1, settings.extraction_characters]
    command = [*CHILD, content_type, *map(str, limits)]
    with TemporaryFile() as answer:  # of limited size, unlike a pipe
        pipes: Any = {"stdin": file, "stdout": answer, "stderr": subprocess.DEVNULL}
        try:
            code = subprocess.run(command, env={}, timeout=seconds, **pipes).returncode
        except subprocess.TimeoutExpired as error:
            raise Unreadable(f"reading it takes over {seconds:g} seconds") from error
        if code == -signal.SIGKILL:
            raise ReaderKilled(KILLED)
        if code != 0:
            raise Unreadable(f"reading it ended with exit code {code}")
        answer.seek(0)
        found: dict[str, Any] = json.load(answer)
    if "error" in found:
        raise Unreadable(found["error"])
    return found


def language_of(text: str) -> str | None:
    """The code of ISO 639-1; None for a text without words."""
    if not text.split():
        return None
    import py3langid  # type: ignore[import-untyped]  # a second and a hundred megabytes: when needed

    return str(py3langid.classify(text[:SAMPLE])[0])


def save(row: Processing, status: str, **result: Any) -> None:
    with session_maker.begin() as session:
        finished = finish_job(session, row, status, finished_at=now(), **result)
        if finished and status == DONE:
            # Found by it from now on, if the file is still this one, whatever its title is now.
            file = update(Document).filter_by(id=row.document_id, sha256=row.sha256, body=None)
            session.execute(file.values(extracted=result["text"]))


def put_back(row: Processing, error: str) -> None:
    if row.attempts >= POLICY.max_attempts:
        return save(row, FAILED, last_error=error)
    with session_maker.begin() as session:
        retry_job(session, row, error, POLICY)
