"""The extraction worker: crashes, leases, limits, damaged and lost files."""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psutil
from sqlalchemy import update
from sqlalchemy.orm import Session

from content_service.database import engine
from content_service.extraction.worker import POLICY, ExtractionWorker
from content_service.main import app
from content_service.models import Processing
from content_service.settings import Settings, settings

from .conftest import Caller, ChangeSettings
from .files import (
    make_pdf,
)


def test_a_killed_extractor_is_started_again(author: Caller) -> None:
    document = author.upload(
        make_pdf(*[f"Page {number} of a long report" for number in range(600)])
    )
    author.post(f"/documents/{document['id']}/process")

    wait_for_extractor().kill()

    done = author.wait_for_outcome(document)
    assert (done["status"], done["attempts"], done["page_count"]) == ("done", 2, 600)


def wait_for_extractor() -> psutil.Process:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for child in psutil.Process().children():
            with suppress(psutil.NoSuchProcess):
                if any(part.endswith("extractor.py") for part in child.cmdline()):
                    return child
    raise AssertionError("no reader was started")


def test_a_file_that_takes_too_long_is_given_up(
    author: Caller, change_settings: ChangeSettings
) -> None:
    change_settings(extraction_seconds=0.01)

    failed = author.process(author.upload(make_pdf("slow")))

    assert (failed["status"], failed["error"]) == ("failed", "reading it takes over 0.01 seconds")


def test_a_file_with_too_much_text_is_given_up(
    author: Caller, change_settings: ChangeSettings
) -> None:
    change_settings(extraction_characters=1000)

    failed = author.process(author.upload(b"word " * 300))

    assert (failed["status"], failed["error"]) == ("failed", "the file holds too much text")


def test_a_damaged_file_is_noticed(author: Caller) -> None:
    document = author.upload(f"unique {uuid4()}".encode())
    path = Path(urlsplit(settings.storage_url).path) / document["sha256"]
    path.write_bytes(b"one flipped bit")

    failed = author.process(document)

    assert failed["status"] == "failed"
    assert "checksum" in failed["error"]


def test_a_failed_extraction_can_be_requested_again(
    author: Caller, change_settings: ChangeSettings
) -> None:
    document = author.upload(make_pdf("Again"))
    change_settings(extraction_seconds=0.01)
    assert author.process(document)["status"] == "failed"
    change_settings(extraction_seconds=settings.extraction_seconds)

    again = author.process(document)

    assert (again["status"], again["text"].strip(), again["error"]) == ("done", "Again", None)


def test_work_of_a_dead_process_is_taken_over(author: Caller) -> None:
    """A killed service leaves a claimed job whose lease expires."""
    document = author.upload(make_pdf("Survivor"))
    author.process(document)
    abandon_job(document["id"], attempts=1)

    done = author.wait_for_outcome(document)

    assert (done["status"], done["attempts"], done["text"].strip()) == ("done", 2, "Survivor")


def test_work_that_kills_its_process_each_time_is_given_up(author: Caller) -> None:
    document = author.upload(make_pdf("Killer"))
    author.process(document)
    abandon_job(document["id"], attempts=POLICY.max_attempts)

    failed = author.wait_for_outcome(document)

    assert (failed["status"], failed["error"]) == (
        "failed",
        "the service stopped each time while it read the file",
    )
    assert failed["attempts"] == POLICY.max_attempts
    assert failed["finished_at"]
    assert author.process(document)["status"] == "done"


class ShortLease(Settings):
    @property
    def extraction_lease(self) -> timedelta:
        return timedelta(seconds=3)


def test_work_that_takes_longer_than_its_lease_stays_with_its_worker(
    author: Caller, change_settings: ChangeSettings
) -> None:
    app.state.settings = ShortLease.model_construct(**dict(settings))
    document = author.upload(
        make_pdf(*[f"Page {number} of a long report" for number in range(600)])
    )
    author.post(f"/documents/{document['id']}/process")
    reader = wait_for_extractor()
    reader.suspend()

    time.sleep(4)
    ExtractionWorker(app.state.settings).process_next()  # would take an abandoned job
    reader.resume()

    done = author.wait_for_outcome(document)
    assert (done["status"], done["attempts"]) == ("done", 1)


def abandon_job(document_id: str, attempts: int) -> None:
    over = datetime.now(UTC) - timedelta(seconds=1)
    left = {"status": "running", "lease_until": over, "attempts": attempts}
    with Session(engine) as session, session.begin():
        row = update(Processing).filter_by(document_id=document_id)
        session.execute(row.values(**left, text=None, word_count=None))


def test_reading_a_lost_file_is_retried_before_it_fails(author: Caller) -> None:
    document = author.upload(f"unique {uuid4()}".encode())
    (Path(urlsplit(settings.storage_url).path) / document["sha256"]).unlink()
    author.post(f"/documents/{document['id']}/process")

    found = author.wait_for_outcome(document, wanted=lambda found: found["attempts"] == 2)

    assert found["status"] in ("queued", "running")
    assert found["error"] == "The file storage cannot read this file now"
