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
LANGUAGE_SAMPLE_CHARACTERS = 10_000  # characters that tell the language

# What the person whose file it is gets to read.
ALWAYS_CRASHED_MESSAGE = "the service itself ended each time that it read the file"
KILLED_MESSAGE = "the reading was stopped from outside, as happens when memory is short"
UNKNOWN_ERROR_MESSAGE = "something failed in the service, whose log says what"

EXTRACTOR_COMMAND = [sys.executable, "-I", str(Path(__file__).with_name("extractor.py"))]


class UnreadableFile(Exception):
    """The file is at fault, so that trying again is of no use."""


class ExtractorKilled(Exception):
    """By the operating system, when memory is short, or by an operator: it may work next time."""


def read_next() -> bool:
    """False when nothing was due."""
    with session_maker.begin() as session:
        fail_exhausted(session)
        claimed = claim_jobs(session, Processing, limit=1, lease=LEASE)
    for row in claimed:
        with trace_context(row.trace_id), keep_lease(row):
            process(row)
    return bool(claimed)


def fail_exhausted(session: Session) -> None:
    """Of what takes down whoever reads it."""
    hopeless = mark_exhausted_dead(session, Processing, POLICY.max_attempts, ALWAYS_CRASHED_MESSAGE)
    if hopeless:
        failed = update(Processing).where(Processing.id.in_(hopeless))
        session.execute(failed.values(status=FAILED, finished_at=now()))


@contextmanager
def keep_lease(row: Processing) -> Iterator[None]:
    """Renews the lease meanwhile: only the reading has a time limit, not the way of the file."""
    over = Event()
    Thread(target=renew_lease_until, args=[over, row], name="lease", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def renew_lease_until(over: Event, row: Processing) -> None:
    while not over.wait(LEASE.total_seconds() / 3):
        with suppress(SQLAlchemyError), session_maker.begin() as session:
            renew_lease(session, row, LEASE)


def process(row: Processing) -> None:
    try:
        finish(row, DONE, **extract_text(row))
    except UnreadableFile as error:
        finish(row, FAILED, last_error=str(error))
    except Exception as error:
        logger.exception("document %s could not be processed", row.document_id)
        is_explained = isinstance(error, ExtractorKilled | storage.StorageFailed)
        retry_or_fail(row, str(error) if is_explained else UNKNOWN_ERROR_MESSAGE)


def extract_text(row: Processing) -> dict[str, Any]:
    """The text and its figures. Raises Unreadable when there is no hope of getting them."""
    with session_maker() as session:
        version = session.get_one(Version, (row.document_id, row.version))
    with open_content(version) as file:
        found = run_extractor(file, version.content_type)
    if found.pop("sha256") != version.sha256:
        raise UnreadableFile("the stored file is damaged: its checksum is not that of the upload")
    return {**found, "language": detect_language(found["text"])}


@contextmanager
def open_content(version: Version) -> Iterator[BinaryIO]:
    if version.body is None:
        with storage.make_local_copy(version.sha256) as file:
            yield file
    else:
        with TemporaryFile() as file:
            file.write(version.body.encode())
            file.seek(0)
            yield file


def run_extractor(file: BinaryIO, content_type: str) -> dict[str, Any]:
    """A broken, hostile or huge file can only ever take this child down."""
    seconds = settings.extraction_seconds
    limits = [settings.extraction_memory_bytes, round(seconds) + 1, settings.extraction_characters]
    command = [*EXTRACTOR_COMMAND, content_type, *map(str, limits)]
    with TemporaryFile() as answer:  # of limited size, unlike a pipe
        pipes: Any = {"stdin": file, "stdout": answer, "stderr": subprocess.DEVNULL}
        try:
            code = subprocess.run(command, env={}, timeout=seconds, **pipes).returncode
        except subprocess.TimeoutExpired as error:
            raise UnreadableFile(f"reading it takes over {seconds:g} seconds") from error
        if code == -signal.SIGKILL:
            raise ExtractorKilled(KILLED_MESSAGE)
        if code != 0:
            raise UnreadableFile(f"reading it ended with exit code {code}")
        answer.seek(0)
        found: dict[str, Any] = json.load(answer)
    if "error" in found:
        raise UnreadableFile(found["error"])
    return found


def detect_language(text: str) -> str | None:
    """The code of ISO 639-1; None for a text without words."""
    if not text.split():
        return None
    import py3langid  # type: ignore[import-untyped]  # a second and a hundred megabytes: when needed

    return str(py3langid.classify(text[:LANGUAGE_SAMPLE_CHARACTERS])[0])


def finish(row: Processing, status: str, **result: Any) -> None:
    with session_maker.begin() as session:
        finished = finish_job(session, row, status, finished_at=now(), **result)
        if finished and status == DONE:
            # Found by it from now on, if the file is still this one, whatever its title is now.
            file = update(Document).filter_by(id=row.document_id, sha256=row.sha256, body=None)
            session.execute(file.values(extracted=result["text"]))


def retry_or_fail(row: Processing, error: str) -> None:
    if row.attempts >= POLICY.max_attempts:
        return finish(row, FAILED, last_error=error)
    with session_maker.begin() as session:
        retry_job(session, row, error, POLICY)
