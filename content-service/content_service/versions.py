"""Every state a document had: immutable full snapshots, numbered without gap."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import NotFound
from chassis.pagination import PageParameters, paginate

from .access import find_document
from .models import Document, Snapshot, Version
from .schemas import VersionRead

PRESERVED = tuple(Snapshot.__annotations__)
COLUMNS = [getattr(Version, name) for name in VersionRead.model_fields]  # without the body


class UnknownVersion(NotFound):
    """The document never had this version."""


def keep_version(session: Session, document: Document, author: User) -> None:
    content = {name: getattr(document, name) for name in PRESERVED}
    version = Version(document_id=document.id, number=document.version, **content)
    version.author_id = author.user_id
    session.add(version)


def list_versions(
    session: Session, reader: User, document_id: UUID, page: PageParameters
) -> dict[str, Any]:
    find_document(session, reader, document_id)
    versions = select(*COLUMNS).where(Version.document_id == document_id)
    return paginate(session, versions, page, Version.number)


def find_version(session: Session, reader: User, document_id: UUID, number: int) -> Version:
    find_document(session, reader, document_id)
    version = session.get(Version, (document_id, number))
    if version is None:
        raise UnknownVersion(f"The document has no version {number}")
    return version
