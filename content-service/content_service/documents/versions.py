"""The versions of a document: full snapshots that never change, numbered without gaps."""

from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now
from chassis.errors import NotFound, PreconditionFailed
from chassis.job_queue import DONE
from chassis.pagination import PageParameters, paginate

from .. import audit
from ..access import get_document
from ..database import insert_row
from ..models import Document, Level, Processing, Snapshot, Version
from ..schemas.documents import VersionRead

SNAPSHOT_FIELDS = tuple(Snapshot.__annotations__)
LISTED_COLUMNS = [getattr(Version, name) for name in VersionRead.model_fields]  # without the body


class StaleVersion(PreconditionFailed):
    """Raised when the document has changed since the caller read it; ETag names its version."""


class UnknownVersion(NotFound):
    """Raised when the document has no version of this number."""


def format_etag(version: int) -> str:
    return f'"{version}"'


def lock_document(session: Session, editor: User, document_id: UUID, if_match: str) -> Document:
    """Lock a document and compare its ETag, or raise StaleVersion.

    Parallel writers wait for the lock, and all but the first then find a newer version. `*` is
    not accepted: it would overwrite a version that the caller has never seen.
    """
    document = get_document(session, editor, document_id, Level.WRITE, lock=True)
    current = format_etag(document.version)
    if current not in (tag.strip() for tag in if_match.split(",")):
        message = f"If-Match: the document has changed; read it again, its ETag is now {current}"
        raise StaleVersion(message, headers={"ETag": current})
    return document


def save_new_version(
    session: Session, document: Document, user: User, action: str, new: dict[str, Any], **facts: Any
) -> Document:
    """Apply the new values to the document and insert them as its next version."""
    has_new_content = new.get("sha256", document.sha256) != document.sha256
    for name, value in new.items():
        setattr(document, name, value)
    if has_new_content:
        document.extracted = select_known_text(document)
    document.version += 1
    document.updated_at = now()
    insert_version(session, document, user)
    audit.record(session, user, document.id, action, version=document.version, **facts)
    return document


def select_known_text(document: Document) -> Any:
    """Select the text that was extracted from the same content before, for the search."""
    same = {"document_id": document.id, "sha256": document.sha256, "status": DONE}
    return select(Processing.text).filter_by(**same).limit(1).scalar_subquery()


def insert_version(session: Session, document: Document, author: User) -> None:
    content = {name: getattr(document, name) for name in SNAPSHOT_FIELDS}
    key = {"document_id": document.id, "number": document.version}
    insert_row(session, Version, **key, **content, author_id=author.user_id)


def list_versions(
    session: Session, reader: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    get_document(session, reader, document_id)
    versions = select(*LISTED_COLUMNS).where(Version.document_id == document_id)
    return paginate(session, versions, page, Version.number)


def get_version(session: Session, reader: User, document_id: UUID, number: int) -> Version:
    get_document(session, reader, document_id)
    return load_version(session, document_id, number)


def load_version(session: Session, document_id: UUID, number: int) -> Version:
    version = session.get(Version, (document_id, number))
    if version is None:
        raise UnknownVersion(f"The document has no version {number}")
    return version


def download_version(session: Session, reader: User, document_id: UUID, number: int) -> Version:
    version = get_version(session, reader, document_id, number)
    audit.record(session, reader, document_id, "document.downloaded", version=number)
    return version


def restore_version(
    session: Session, editor: User, document_id: UUID, number: int, if_match: str
) -> Document:
    """Copy an old version to a new one, so that no later version is lost."""
    document = lock_document(session, editor, document_id, if_match)
    old = load_version(session, document_id, number)
    values = {name: getattr(old, name) for name in SNAPSHOT_FIELDS}
    return save_new_version(session, document, editor, "version.restored", values, restored=number)


def label_version(
    session: Session, editor: User, document_id: UUID, number: int, label: str | None
) -> Version:
    get_document(session, editor, document_id, Level.WRITE)
    version = load_version(session, document_id, number)
    labelled = update(Version).filter_by(document_id=document_id, number=number)
    session.execute(labelled.values(label=label))
    session.refresh(version)
    audit.record(session, editor, document_id, "version.labelled", version=number, label=label)
    return version
