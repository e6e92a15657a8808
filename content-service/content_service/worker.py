"""The background threads: each takes what is due from a table of its own, in rounds."""

import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

from fastapi import FastAPI
from sqlalchemy import update

from chassis.auth import ServiceAccount
from chassis.claims import DONE, RetryPolicy, claim, finish, retry
from chassis.service_client import ServiceClient
from chassis.tracing import traced

from . import storage
from .database import session_maker
from .models import Document, Processing, Version, now
from .notices import hand_over_due
from .processing import FAILED
from .settings import settings

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.25
Job = Callable[[], bool]
"""One round of work; False when nothing was due."""

LEASE = timedelta(seconds=settings.extraction_seconds + 5)
POLICY = RetryPolicy(max_attempts=5, longest_delay=60)

CHILD = [sys.executable, "-I", str(Path(__file__).with_name("extraction.py"))]


class Unreadable(Exception):
    """The file is at fault, so that trying again is of no use."""


@asynccontextmanager
async def background_worker(app: FastAPI) -> AsyncIterator[None]:
    """Runs a thread per job as long as the app. What they leave undone, another claims later."""
    stopping = Event()
    for name, job in jobs(app).items():
        Thread(target=work, args=[stopping, name, job], name=name, daemon=True).start()
    yield
    stopping.set()


def jobs(app: FastAPI) -> dict[str, Job]:
    communication = ServiceClient(
        settings.communication_service_url,
        settings.service_name,
        target="communication-service",
        account=ServiceAccount(
            settings, app.state.transport
        ),  # one that is used by this thread only
        transport=app.state.transport,
    )
    return {"extraction": extract_due, "notices": partial(hand_over_due, communication)}


def work(stopping: Event, name: str, job: Job) -> None:
    pause = 0.0
    while not stopping.wait(pause):
        pause = IDLE_SECONDS
        try:
            pause = 0.0 if job() else IDLE_SECONDS
        except Exception:  # the database may be away for a while: the thread must outlive that
            logger.exception("%s pauses", name)


def extract_due() -> bool:
    """False when nothing was due."""
    with session_maker.begin() as session:
        claimed = claim(session, Processing, limit=1, lease=LEASE)
    for row in claimed:
        with traced(row.trace_id):
            process(row)
    return bool(claimed)


def process(row: Processing) -> None:
    try:
        save(row, DONE, **read(row))
    except Unreadable as error:
        save(row, FAILED, last_error=str(error))
    except Exception as error:
        logger.exception("document %s could not be processed", row.document_id)
        put_back(row, type(error).__name__)


def read(row: Processing) -> dict[str, Any]:
    """The text and its figures. Raises Unreadable when there is no hope of getting them."""
    with session_maker() as session:
        version = session.get_one(Version, (row.document_id, row.version))
    if version.body is not None:
        return {"text": version.body, "word_count": len(version.body.split())}
    found = run_child(storage.local_path(version.sha256), version.content_type)
    if found.pop("sha256") != version.sha256:
        raise Unreadable("the stored file is damaged: its checksum is not that of the upload")
    return found


def run_child(path: str, content_type: str) -> dict[str, Any]:
    """A broken, hostile or huge file can only ever take this child down."""
    seconds = settings.extraction_seconds
    limits = [settings.extraction_memory_bytes, round(seconds) + 1, settings.extraction_characters]
    command = [*CHILD, path, content_type, *map(str, limits)]
    try:
        child = subprocess.run(command, capture_output=True, env={}, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise Unreadable(f"reading it takes over {seconds:g} seconds") from error
    if child.returncode != 0:
        raise Unreadable(f"reading it ended with exit code {child.returncode}")
    found: dict[str, Any] = json.loads(child.stdout)
    if "error" in found:
        raise Unreadable(found["error"])
    return found


def save(row: Processing, status: str, **result: Any) -> None:
    with session_maker.begin() as session:
        finished = finish(session, row, status, finished_at=now(), **result)
        if finished and status == DONE:
            # Found by it from now on, if the file is still this one, whatever its title is now.
            file = update(Document).filter_by(id=row.document_id, sha256=row.sha256, body=None)
            session.execute(file.values(extracted=result["text"]))


def put_back(row: Processing, error: str) -> None:
    if row.attempts >= POLICY.max_attempts:
        return save(row, FAILED, last_error=error)
    with session_maker.begin() as session:
        retry(session, row, error, POLICY)
