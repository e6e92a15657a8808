"""Checks that every file that a version names is in the storage, unchanged."""

import hashlib
from errno import EIO
from time import monotonic
from typing import Any, Literal

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.pagination import PageParameters, decode_cursor, encode_cursor

from ..models import Version
from ..schemas.documents import DamagedFile, IntegrityReport, Sha256, VersionReference
from .storage import READ_FAILED_MESSAGE, FileStorage, StorageFailed, translate_failures

MAX_SECONDS_PER_REQUEST = 10.0  # the next request continues where this one stopped
MAX_VERSIONS_PER_FAULT = 100
POSITION_ADAPTER: TypeAdapter[Any] = TypeAdapter(Sha256)

Fault = Literal["missing", "damaged"]


def check_files(session: Session, storage: FileStorage, page: PageParameters) -> IntegrityReport:
    """Read as many files as the limit and the time allow, and report those with a fault."""
    files = select(Version.sha256).where(Version.body.is_(None)).distinct()
    if page.cursor:
        files = files.where(Version.sha256 > decode_cursor(POSITION_ADAPTER, page.cursor))
    names = session.scalars(files.order_by(Version.sha256).limit(page.limit + 1)).all()
    report = IntegrityReport(checked=0, items=[], next_cursor=None)
    deadline = monotonic() + MAX_SECONDS_PER_REQUEST
    for name in names[: page.limit]:
        if fault := find_fault(storage, name):
            report.items.append(describe_fault(session, name, fault))
        report.checked += 1
        if monotonic() > deadline:
            break
    if report.checked < len(names):
        report.next_cursor = encode_cursor(POSITION_ADAPTER, names[report.checked - 1])
    return report


def find_fault(storage: FileStorage, sha256: str) -> Fault | None:
    """Read the file. Raises StorageFailed when the storage is unreachable: that says nothing."""
    try:
        with translate_failures(READ_FAILED_MESSAGE), storage.open(sha256) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except StorageFailed as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return "missing"
        if isinstance(error.__cause__, OSError) and error.__cause__.errno == EIO:
            return "damaged"
        raise
    return None if found == sha256 else "damaged"


def describe_fault(session: Session, sha256: str, fault: Fault) -> DamagedFile:
    is_use = (Version.sha256 == sha256) & Version.body.is_(None)
    uses = select(Version.document_id, Version.number).where(is_use).limit(MAX_VERSIONS_PER_FAULT)
    versions = [VersionReference.model_validate(row) for row in session.execute(uses)]
    return DamagedFile(sha256=sha256, fault=fault, versions=versions)
