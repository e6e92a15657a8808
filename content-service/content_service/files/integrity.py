"""Whether every file that a version names is there, and still what it was."""

import hashlib
from errno import EIO
from time import monotonic
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.pagination import PageParameters, decode_cursor, encode_cursor

from ..models import Version
from ..schemas import DamagedFile, IntegrityReport, Sha256
from . import storage

MAX_SECONDS_PER_REQUEST = 10.0  # seconds for one request; the next one goes on where this one ended
POSITION_ADAPTER: TypeAdapter[Any] = TypeAdapter(Sha256)


def check_files(session: Session, page: PageParameters) -> IntegrityReport:
    """Reads the files, as many as the limit and the time allow."""
    files = select(Version.sha256).where(Version.body.is_(None)).distinct()
    if page.cursor:
        files = files.where(Version.sha256 > decode_cursor(POSITION_ADAPTER, page.cursor))
    names = session.scalars(files.order_by(Version.sha256).limit(page.limit + 1)).all()
    report = IntegrityReport(checked=0, items=[], next_cursor=None)
    until = monotonic() + MAX_SECONDS_PER_REQUEST
    for name in names[: page.limit]:
        if fault := find_fault(name):
            report.items.append(describe_fault(session, name, fault))
        report.checked += 1
        if monotonic() > until:
            break
    if report.checked < len(names):
        report.next_cursor = encode_cursor(POSITION_ADAPTER, names[report.checked - 1])
    return report


def find_fault(sha256: str) -> str | None:
    """Raises StorageFailed when the storage is away, since then nothing is known of the file."""
    try:
        with (
            storage.translate_failures(storage.READ_FAILED_MESSAGE),
            storage.open_file(sha256) as file,
        ):
            found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except storage.StorageFailed as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return "missing"
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == EIO:
            return "damaged"
        raise
    return None if found == sha256 else "damaged"


def describe_fault(session: Session, sha256: str, fault: str) -> DamagedFile:
    uses = select(Version.document_id, Version.number).where(
        Version.sha256 == sha256, Version.body.is_(None)
    )
    versions = [dict(row) for row in session.execute(uses.limit(100)).mappings()]
    return DamagedFile.model_validate({"sha256": sha256, "fault": fault, "versions": versions})
