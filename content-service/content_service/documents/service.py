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
from chassis.errors import Conflict, ServiceError, Unprocessable
from chassis.pagination import PageParameters, decode_cursor, encode_cursor

from .. import access, audit
from ..access import filter_by_grantees, filter_visible, get_document
from ..database import insert_row
from ..files.content_types import PLAIN_TEXT, detect_content_type, make_safe_name
from ..files.storage import FileStorage
from ..models import USER_PREFIX, Document, Grant, Level
from ..schemas import documents as schemas
from ..schemas.fields import MAX_TAGS
from ..settings import DuplicatePolicy
from . import trash
from .versions import insert_version, lock_document, save_new_version

LISTED_FIELDS = tuple(schemas.DocumentRead.model_fields)
LISTED_COLUMNS = [getattr(Document, name) for name in LISTED_FIELDS]  # without the body

# Built once, like `select_page`: building a statement takes longer than running it.
SELECT_STATE = select(Document.version, Document.updated_at).filter_by(id=bindparam("document_id"))
SELECT_ANY_STATE = filter_by_grantees(SELECT_STATE, None)
SELECT_VISIBLE_STATE = filter_by_grantees(SELECT_STATE, bindparam("grantees", type_=ARRAY(Text)))

POSITION_ADAPTER: TypeAdapter[Any] = TypeAdapter(UUID)  # the last id of a page


class DuplicateFile(Conflict):
    """Raised when the caller can see this file already and the service rejects duplicates."""


class Content(NamedTuple):
    """Holds the columns of a document that its text or file determines."""

    body: str | None
    filename: str | None
    content_type: str
    size: int
    sha256: str


def create_document(session: Session, author: User, new: schemas.DocumentCreate) -> Document:
    content = describe_text(new.body)
    return insert_document(session, author, "document.created", new.title, new.tags, content)


def describe_text(body: str) -> Content:
    encoded = body.encode()
    return Content(body, None, PLAIN_TEXT, len(encoded), hashlib.sha256(encoded).hexdigest())


def upload_document(
    session: Session,
    storage: FileStorage,
    author: User,
    new: schemas.DocumentUpload,
    duplicates: DuplicatePolicy,
) -> schemas.DocumentUploaded:
    """Store a file as a document. Raises Unprocessable, UnsupportedFile or DuplicateFile."""
    content = store_upload(session, storage, new.file)
    duplicate_of = find_duplicate(session, author, content.sha256, duplicates)
    title = new.title or str(content.filename)
    document = insert_document(session, author, "document.uploaded", title, new.tags, content)
    shown = schemas.DocumentWithBody.model_validate(document)
    return schemas.DocumentUploaded(**shown.model_dump(), duplicate_of=duplicate_of)


def store_upload(session: Session, storage: FileStorage, file: UploadFile) -> Content:
    if not file.size:
        raise Unprocessable.for_field("file", "is empty")
    filename = make_safe_name(file.filename or "")
    content_type = detect_content_type(file.file, filename)
    return Content(None, filename, content_type, *storage.save(session, file.file))


def find_duplicate(
    session: Session, user: User, sha256: str, policy: DuplicatePolicy, excluded: UUID | None = None
) -> UUID | None:
    """Return the oldest document with this file, of those the user may see.

    The storage holds the file's lock, so of two uploads at a time the second finds the first.
    """
    same = select(Document.id).where(Document.sha256 == sha256, Document.body.is_(None))
    visible = filter_visible(same, user).where(Document.id.is_distinct_from(excluded))
    duplicate_of = session.scalar(visible.order_by(Document.id).limit(1))
    if duplicate_of and policy == "reject":
        raise DuplicateFile(f"file: the document {duplicate_of} has the same file already")
    return duplicate_of


def insert_document(
    session: Session, author: User, action: str, title: str, tags: list[str], content: Content
) -> Document:
    document = Document(owner_id=author.user_id, title=title, tags=tags, **content._asdict())
    session.add(document)
    session.flush()
    owner = {"grantee": USER_PREFIX + author.user_id, "granted_by": author.user_id}
    insert_row(session, Grant, document_id=document.id, level=Level.MANAGE, **owner)
    insert_version(session, document, author)
    audit.record(session, author, document.id, action, version=document.version)
    return document


def list_documents(connection: Connection, reader: User, page: PageParameters) -> dict[str, Any]:
    """Return a page of rows: making objects of them would take as long as everything else."""
    top_id = access.HIGHEST_ID
    if page.cursor:
        top_id = access.get_preceding_id(decode_cursor(POSITION_ADAPTER, page.cursor))
    statement = select_page(access.count_grantees(reader))
    rows = connection.execute(statement, access.build_range(reader, page.limit + 1, top_id)).all()
    items = [dict(zip(LISTED_FIELDS, row, strict=True)) for row in rows[: page.limit]]
    next_cursor = None
    if len(rows) > page.limit:
        next_cursor = encode_cursor(POSITION_ADAPTER, items[-1]["id"])
    return {"items": items, "next_cursor": next_cursor}


@cache
def select_page(grantee_count: int | None) -> Select[Any]:
    return access.select_newest(LISTED_COLUMNS, grantee_count)


def get_stats(session: Session, reader: User) -> schemas.DocumentStats:
    """Count the documents that the reader may see, in one query."""
    is_owned = Document.owner_id == reader.user_id
    counts = (func.count(), func.sum(Document.size), func.count().filter(is_owned))
    statement = filter_visible(select(Document.content_type, *counts), reader)
    stats = schemas.DocumentStats(documents=0, bytes=0, by_type={}, owned=0)
    rows = session.execute(statement.group_by(Document.content_type))
    for content_type, count, size, owned in rows:
        stats.documents += count
        stats.bytes += size
        stats.by_type[content_type] = count
        stats.owned += owned
    return stats


def get_current_state(connection: Connection, user: User, document_id: UUID) -> Row[int, datetime]:
    """Return the version and time of the current state, or raise UnknownDocument."""
    statement = SELECT_ANY_STATE if access.can_see_all_documents(user) else SELECT_VISIBLE_STATE
    parameters = {"document_id": document_id, "grantees": access.get_grantees(user)}
    state = connection.execute(statement, parameters).one_or_none()
    if state is None:
        raise access.UnknownDocument("There is no such document")
    return state


def change_document(
    session: Session, editor: User, document_id: UUID, if_match: str, new: schemas.DocumentUpdate
) -> Document:
    document = lock_document(session, editor, document_id, if_match)
    values = new.model_dump(exclude_none=True)
    if not values:
        raise Unprocessable("Send at least one of title, body and tags")
    if new.body is not None:
        if document.body is None:
            reason = "cannot be set: this document is an uploaded file; replace the file instead"
            raise Unprocessable.for_field("body", reason)
        values |= describe_text(new.body)._asdict()
    return save_new_version(session, document, editor, "document.updated", values)


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
    document = lock_document(session, editor, document_id, if_match)
    content = store_upload(session, storage, file)
    find_duplicate(session, editor, content.sha256, duplicates, excluded=document_id)
    return save_new_version(session, document, editor, "file.replaced", content._asdict())


def download_document(session: Session, reader: User, document_id: UUID) -> Document:
    document = get_document(session, reader, document_id)
    audit.record(session, reader, document_id, "document.downloaded", version=document.version)
    return document


def change_documents(session: Session, user: User, bulk: schemas.BulkRequest) -> schemas.BulkResult:
    # Sorted, so that two requests lock documents in the same order and cannot deadlock.
    outcomes = {
        document_id: apply_bulk_action(session, user, bulk, document_id)
        for document_id in sorted(set(bulk.document_ids))
    }
    results = [outcomes[document_id] for document_id in bulk.document_ids]
    failed = sum(outcome.status >= 400 for outcome in results)
    return schemas.BulkResult(results=results, succeeded=len(results) - failed, failed=failed)


def apply_bulk_action(
    session: Session, user: User, bulk: schemas.BulkRequest, document_id: UUID
) -> schemas.BulkOutcome:
    """Apply the action in a savepoint, so that a failure undoes this document's changes only."""
    try:
        with session.begin_nested():
            if bulk.action == "delete":
                trash.delete_document(session, user, document_id)
            elif bulk.action == "restore":
                trash.restore_document(session, user, document_id)
            else:
                add_tags(session, user, document_id, bulk.tags)
    except ServiceError as error:
        failure = {"code": type(error).__name__, "detail": error.message}
        return schemas.BulkOutcome(document_id=document_id, status=error.status_code, **failure)
    return schemas.BulkOutcome(document_id=document_id, status=204)


def add_tags(session: Session, user: User, document_id: UUID, tags: list[str]) -> None:
    document = get_document(session, user, document_id, Level.WRITE, lock=True)
    new = dict.fromkeys(tag for tag in tags if tag not in document.tags)
    combined = [*document.tags, *new]
    if len(combined) > MAX_TAGS:
        raise Unprocessable.for_field("tags", f"the document would have more than {MAX_TAGS}")
    if combined != document.tags:
        save_new_version(session, document, user, "document.updated", {"tags": combined})
