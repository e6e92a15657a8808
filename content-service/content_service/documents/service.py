"""What can be done with documents: create, upload, list, count, change, download."""

import hashlib
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from fastapi import UploadFile
from pydantic import TypeAdapter
from sqlalchemy import ARRAY, Connection, Row, Select, Text, bindparam, func, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, Unprocessable
from chassis.pagination import PageParameters, decode_cursor, encode_cursor

from .. import audit
from ..access import (
    HIGHEST_ID,
    UnknownDocument,
    build_range,
    can_see_all_documents,
    count_grantees,
    filter_by_grantees,
    filter_visible,
    get_document,
    get_grantees,
    get_preceding_id,
    select_newest,
)
from ..database import insert_row
from ..files.content_types import PLAIN_TEXT, detect_content_type, make_safe_name
from ..files.storage import FileStorage
from ..models import USER_PREFIX, Document, Grant, Level
from ..schemas.documents import (
    DocumentCreate,
    DocumentRead,
    DocumentStats,
    DocumentUpdate,
    DocumentUpload,
    DocumentUploaded,
    DocumentWithBody,
)
from ..settings import DuplicatePolicy
from .versions import get_document_to_change, insert_version, save_new_version

LISTED_FIELDS = tuple(DocumentRead.model_fields)
LISTED_COLUMNS = [getattr(Document, name) for name in LISTED_FIELDS]  # without the body

# Built once, like `select_page`: building a statement takes longer than running it.
SELECT_STATE = select(Document.version, Document.updated_at).where(
    Document.id == bindparam("document_id")
)
SELECT_ANY_STATE = filter_by_grantees(SELECT_STATE, None)
SELECT_VISIBLE_STATE = filter_by_grantees(SELECT_STATE, bindparam("grantees", type_=ARRAY(Text)))

POSITION_ADAPTER: TypeAdapter[Any] = TypeAdapter(UUID)  # the last id of a page


class DuplicateFile(Conflict):
    """Raised when the caller has this file already and DUPLICATES is set to reject."""


class Content(NamedTuple):
    """Holds the columns of a document that its text or file determines."""

    body: str | None
    filename: str | None
    content_type: str
    size: int
    sha256: str


def create_document(session: Session, author: User, new: DocumentCreate) -> Document:
    content = describe_text(new.body)
    return insert_document(session, author, "document.created", new.title, new.tags, content)


def describe_text(body: str) -> Content:
    encoded = body.encode()
    return Content(body, None, PLAIN_TEXT, len(encoded), hashlib.sha256(encoded).hexdigest())


def upload_document(
    session: Session,
    storage: FileStorage,
    author: User,
    new: DocumentUpload,
    duplicates: DuplicatePolicy,
) -> DocumentUploaded:
    """Store a file as a document. Raises Unprocessable, UnsupportedFile or DuplicateFile."""
    content = store_upload(session, storage, new.file)
    duplicate_of = find_duplicate(session, author, content.sha256, duplicates)
    title = new.title or str(content.filename)
    document = insert_document(session, author, "document.uploaded", title, new.tags, content)
    shown = DocumentWithBody.model_validate(document)
    return DocumentUploaded(**shown.model_dump(), duplicate_of=duplicate_of)


def store_upload(session: Session, storage: FileStorage, file: UploadFile) -> Content:
    if not file.size:
        raise Unprocessable.for_field("file", "is empty")
    filename = make_safe_name(file.filename or "")
    content_type = detect_content_type(file.file, filename)
    return Content(None, filename, content_type, *storage.save(session, file.file))


def find_duplicate(
    session: Session,
    author: User,
    sha256: str,
    duplicates: DuplicatePolicy,
    other_than: UUID | None = None,
) -> UUID | None:
    """Return the oldest document with this file, of those the author may see.

    The storage holds the file's lock, so of two uploads at a time the second finds the first.
    """
    same = select(Document.id).where(Document.sha256 == sha256, Document.body.is_(None))
    visible = filter_visible(same, author).where(Document.id.is_distinct_from(other_than))
    duplicate_of = session.scalar(visible.order_by(Document.id).limit(1))
    if duplicate_of and duplicates == "reject":
        raise DuplicateFile(f"file: the document {duplicate_of} has the same file already")
    return duplicate_of


def insert_document(
    session: Session, author: User, action: str, title: str, tags: list[str], content: Content
) -> Document:
    document = Document(owner_id=author.user_id, title=title, tags=tags, **content._asdict())
    session.add(document)
    session.flush()
    insert_row(
        session,
        Grant,
        document_id=document.id,
        grantee=USER_PREFIX + author.user_id,
        level=Level.MANAGE,
        granted_by=author.user_id,
    )
    insert_version(session, document, author)
    audit.record(session, author, document.id, action, version=document.version)
    return document


def list_documents(connection: Connection, reader: User, page: PageParameters) -> dict[str, Any]:
    """Return a page of rows: making objects of them would take as long as everything else."""
    top_id = HIGHEST_ID
    if page.cursor:
        top_id = get_preceding_id(decode_cursor(POSITION_ADAPTER, page.cursor))
    statement = select_page(count_grantees(reader))
    rows = connection.execute(statement, build_range(reader, page.limit + 1, top_id)).all()
    items = [dict(zip(LISTED_FIELDS, row, strict=True)) for row in rows[: page.limit]]
    next_cursor = None
    if len(rows) > page.limit:
        next_cursor = encode_cursor(POSITION_ADAPTER, items[-1]["id"])
    return {"items": items, "next_cursor": next_cursor}


@cache
def select_page(grantee_count: int | None) -> Select[Any]:
    return select_newest(LISTED_COLUMNS, grantee_count)


def get_stats(session: Session, reader: User) -> DocumentStats:
    """Count the documents that the reader may see, in one query."""
    is_owned = Document.owner_id == reader.user_id
    counts = (func.count(), func.sum(Document.size), func.count().filter(is_owned))
    statement = filter_visible(select(Document.content_type, *counts), reader)
    stats = DocumentStats(documents=0, bytes=0, by_type={}, owned=0)
    rows = session.execute(statement.group_by(Document.content_type))
    for content_type, count, size, owned in rows:
        stats.documents += count
        stats.bytes += size
        stats.by_type[content_type] = count
        stats.owned += owned
    return stats


def get_current_state(
    connection: Connection, reader: User, document_id: UUID
) -> Row[int, datetime]:
    """Return the version and time of the current state, or raise UnknownDocument."""
    statement = SELECT_ANY_STATE if can_see_all_documents(reader) else SELECT_VISIBLE_STATE
    parameters = {"document_id": document_id, "grantees": get_grantees(reader)}
    state = connection.execute(statement, parameters).one_or_none()
    if state is None:
        raise UnknownDocument("There is no such document")
    return state


def change_document(
    session: Session, editor: User, document_id: UUID, if_match: str, changes: DocumentUpdate
) -> Document:
    document = get_document_to_change(session, editor, document_id, if_match)
    values = changes.model_dump(exclude_none=True)
    if not values:
        raise Unprocessable("Send at least one of title, body and tags")
    if changes.body is not None:
        check_is_text(document)
        values |= describe_text(changes.body)._asdict()
    return save_new_version(session, document, editor, "document.updated", values)


def check_is_text(document: Document) -> None:
    if document.body is None:
        raise Unprocessable.for_field(
            "body", "cannot be set: this document is an uploaded file; replace the file instead"
        )


def replace_file(
    session: Session,
    storage: FileStorage,
    editor: User,
    document_id: UUID,
    if_match: str,
    file: UploadFile,
    duplicates: DuplicatePolicy,
) -> Document:
    """Replace the text or file and keep title and tags; the version before keeps its content."""
    document = get_document_to_change(session, editor, document_id, if_match)
    content = store_upload(session, storage, file)
    find_duplicate(session, editor, content.sha256, duplicates, other_than=document_id)
    return save_new_version(session, document, editor, "file.replaced", content._asdict())


def download_document(session: Session, reader: User, document_id: UUID) -> Document:
    document = get_document(session, reader, document_id)
    audit.record(session, reader, document_id, "document.downloaded", version=document.version)
    return document
