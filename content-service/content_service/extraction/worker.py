"""Extracts the text of documents: claims queued requests one by one and runs the extractor."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import Any, BinaryIO, NamedTuple

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from chassis import job_queue
from chassis.clock import now
from chassis.job_queue import DONE, RetryPolicy
from chassis.tracing import trace_context

from ..database import session_maker
from ..files.storage import FileStorage, StorageFailed
from ..models import Document, Processing, Version
from ..settings import Settings
from .service import FAILED

logger = logging.getLogger(__name__)

POLICY = RetryPolicy(max_attempts=5, max_delay=60)
LANGUAGE_SAMPLE_CHARACTERS = 10_000
EXTRACTOR_COMMAND = [sys.executable, "-I", str(Path(__file__).with_name("extractor.py"))]

# Errors that the owner of the file reads.
ALWAYS_CRASHED_MESSAGE = "the service stopped each time while it read the file"
KILLED_MESSAGE = "reading the file was stopped from outside, as happens when memory is short"
UNKNOWN_ERROR_MESSAGE = "an error in the service stopped the reading; its log has the details"


class UnreadableFile(Exception):
    """Raised when the file is at fault, so that a retry cannot help."""


class ExtractorKilled(Exception):
    """Raised when the operating system or an operator killed the extractor; a retry may work."""


class Extraction(NamedTuple):
    """Holds what was found in a document."""

    text: str
    language: str | None
    word_count: int
    page_count: int | None


@dataclass(frozen=True)
class ExtractionWorker:
    """Extracts texts within the limits of the settings."""

    settings: Settings

    def process_next(self) -> bool:
        """Claim one due request and process it; return False when none was due."""
        with session_maker.begin() as session:
            fail_exhausted(session)
            lease = self.settings.extraction_lease
            claimed = job_queue.claim_jobs(session, Processing, limit=1, lease=lease)
        for job in claimed:
            with trace_context(job.trace_id), self._keep_lease(job):
                self._process(job)
        return bool(claimed)

    @contextmanager
    def _keep_lease(self, job: Processing) -> Iterator[None]:
        """Renew the lease meanwhile: fetching the file from the storage has no time limit."""
        is_over = Event()
        Thread(target=self._renew_lease, args=[is_over, job], name="lease", daemon=True).start()
        try:
            yield
        finally:
            is_over.set()

    def _renew_lease(self, is_over: Event, job: Processing) -> None:
        lease = self.settings.extraction_lease
        while not is_over.wait(lease.total_seconds() / 3):
            with suppress(SQLAlchemyError), session_maker.begin() as session:
                job_queue.renew_lease(session, job, lease)

    def _process(self, job: Processing) -> None:
        try:
            finish(job, DONE, **self._extract(job)._asdict())
        except UnreadableFile as error:
            finish(job, FAILED, last_error=str(error))
        except Exception as error:
            logger.exception("Document %s could not be processed", job.document_id)
            is_explained = isinstance(error, ExtractorKilled | StorageFailed)
            retry_or_fail(job, str(error) if is_explained else UNKNOWN_ERROR_MESSAGE)

    def _extract(self, job: Processing) -> Extraction:
        with session_maker() as session:
            version = session.get_one(Version, (job.document_id, job.version))
        with self._open_content(version) as file:
            found = self._run_extractor(file, version.content_type)
        if found["sha256"] != version.sha256:
            raise UnreadableFile("the stored file is damaged: its checksum has changed")
        language = detect_language(found["text"])
        return Extraction(found["text"], language, found["word_count"], found["page_count"])

    @contextmanager
    def _open_content(self, version: Version) -> Iterator[BinaryIO]:
        if version.body is None:
            storage = FileStorage(self.settings.storage_url)
            with storage.copy_to_local_file(version.sha256) as file:
                yield file
        else:
            with TemporaryFile() as file:
                file.write(version.body.encode())
                file.seek(0)
                yield file

    def _run_extractor(self, file: BinaryIO, content_type: str) -> dict[str, Any]:
        """Run the extractor in a process of its own: a hostile file can only crash that."""
        seconds = self.settings.extraction_seconds
        memory = self.settings.extraction_memory_bytes
        limits = [memory, round(seconds) + 1, self.settings.extraction_characters]
        command = [*EXTRACTOR_COMMAND, content_type, *map(str, limits)]
        with TemporaryFile() as output:  # its size is limited, unlike that of a pipe
            pipes: Any = {"stdin": file, "stdout": output, "stderr": subprocess.DEVNULL}
            try:
                code = subprocess.run(command, env={}, timeout=seconds, **pipes).returncode
            except subprocess.TimeoutExpired as error:
                raise UnreadableFile(f"reading it takes over {seconds:g} seconds") from error
            if code == -signal.SIGKILL:
                raise ExtractorKilled(KILLED_MESSAGE)
            if code != 0:
                raise UnreadableFile(f"reading it ended with exit code {code}")
            output.seek(0)
            found: dict[str, Any] = json.load(output)
        if "error" in found:
            raise UnreadableFile(found["error"])
        return found


def fail_exhausted(session: Session) -> None:
    """Give up on documents that crashed every worker that read them."""
    limit = POLICY.max_attempts
    ids = job_queue.mark_exhausted_dead(session, Processing, limit, ALWAYS_CRASHED_MESSAGE)
    if ids:
        failed = update(Processing).where(Processing.id.in_(ids))
        session.execute(failed.values(status=FAILED, finished_at=now()))


def detect_language(text: str) -> str | None:
    """Return the language as a code of ISO 639-1; None for a text without words."""
    if not text.split():
        return None
    # Imported when needed: it takes a second and a hundred megabytes.
    import py3langid  # type: ignore[import-untyped]

    return str(py3langid.classify(text[:LANGUAGE_SAMPLE_CHARACTERS])[0])


def finish(job: Processing, status: str, **result: Any) -> None:
    with session_maker.begin() as session:
        finished = job_queue.finish_job(session, job, status, finished_at=now(), **result)
        if finished and status == DONE:
            # The search finds the document by its text, unless it has another file by now.
            document = update(Document).filter_by(id=job.document_id, sha256=job.sha256, body=None)
            session.execute(document.values(extracted=result["text"]))


def retry_or_fail(job: Processing, error: str) -> None:
    if job.attempts >= POLICY.max_attempts:
        return finish(job, FAILED, last_error=error)
    with session_maker.begin() as session:
        job_queue.retry_job(session, job, error, POLICY)
