"""What can be done with documents. No HTTP in here, and no commit."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
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
    ALL_DOCUMENTS_PERMISSION,
    HIGHEST_ID,
    UnknownDocument,
    filter_by_grantees,
    filter_visible,
    get_document,
    get_grantees,
    get_preceding_id,
    names_of,
    select_newest_visible,
    span,
)
from ..files import storage
from ..files.content_types import PLAIN_TEXT, detect_content_type, make_safe_name
from ..models import USER_PREFIX, Document, Grant, Level
from ..schemas import (
    DocumentCreate,
    DocumentRead,
    DocumentStats,
    DocumentUpdate,
    DocumentUpload,
    DocumentUploaded,
    DocumentWithBody,
)
from ..settings import settings
from ..statements import insert_row
from .versions import get_document_to_change, insert_version, save_new_version

LISTED_FIELDS = tuple(DocumentRead.model_fields)
LISTED_COLUMNS = [getattr(Document, name) for name in LISTED_FIELDS]  # without the body

# Built once, since to build a statement takes longer than to run this one.
SELECT_STATE = select(Document.version, Document.updated_at).where(
    Document.id == bindparam("document_id")
)
SELECT_ANY_STATE, SELECT_VISIBLE_STATE = (
    filter_by_grantees(SELECT_STATE, None),
    filter_by_grantees(SELECT_STATE, bindparam("names", type_=ARRAY(Text))),
)

POSITION_ADAPTER: TypeAdapter[Any] = TypeAdapter(UUID)  # the last id of a page


class DuplicateFile(Conflict):
    """The caller has this very file already; refused where DUPLICATES is set to reject."""


def create_document(session: Session, author: User, new: DocumentCreate) -> Document:
    content = {**new.model_dump(), **describe_text(new.body), "content_type": PLAIN_TEXT}
    return insert_document(session, author, "document.created", content)


def upload_document(session: Session, author: User, new: DocumentUpload) -> DocumentUploaded:
    """Raises Unprocessable, UnsupportedFile or DuplicateFile, and then keeps nothing."""
    file = store_upload(session, new.file)
    twin = find_duplicate(session, author, file["sha256"])
    content = {"title": new.title or file["filename"], "tags": new.tags, **file}
    document = insert_document(session, author, "document.uploaded", content)
    shown = DocumentWithBody.model_validate(document, from_attributes=True)
    return DocumentUploaded(**shown.model_dump(), duplicate_of=twin)


def store_upload(session: Session, file: UploadFile) -> dict[str, Any]:
    """What a document is told about an uploaded file, which is in the storage now."""
    if not file.size:
        raise Unprocessable.for_field("file", "is empty")
    name = make_safe_name(file.filename or "")
    kind = detect_content_type(file.file, name)
    return {
        "body": None,
        "filename": name,
        "content_type": kind,
        **storage.save_file(session, file.file),
    }


def find_duplicate(
    session: Session, author: User, sha256: str, but: UUID | None = None
) -> UUID | None:
    """Only among documents that the author may see: others' files are nobody's business.

    The storage has the file locked: of two uploads at the same time the second finds the first.
    """
    twins = select(Document.id).where(Document.sha256 == sha256, Document.body.is_(None))
    others = filter_visible(twins, author).where(Document.id.is_distinct_from(but))
    twin = session.scalar(others.order_by(Document.id).limit(1))
    if twin and settings.duplicates == "reject":
        raise DuplicateFile(f"file: the document {twin} holds this very file already")
    return twin


def insert_document(
    session: Session, author: User, action: str, content: Mapping[str, Any]
) -> Document:
    document = Document(owner_id=author.user_id, **content)
    session.add(document)
    session.flush()
    mine = {
        "grantee": USER_PREFIX + author.user_id,
        "level": Level.MANAGE,
        "granted_by": author.user_id,
    }
    insert_row(session, Grant, document_id=document.id, **mine)
    insert_version(session, document, author)
    audit.record(session, author, document.id, action, version=document.version)
    return document


def describe_text(body: str) -> dict[str, Any]:
    encoded = body.encode()
    return {"size": len(encoded), "sha256": hashlib.sha256(encoded).hexdigest()}


def list_documents(connection: Connection, reader: User, page: PageParameters) -> dict[str, Any]:
    """Rows and not objects: to make those would take as long as all the rest."""
    top = (
        get_preceding_id(decode_cursor(POSITION_ADAPTER, page.cursor))
        if page.cursor
        else HIGHEST_ID
    )
    within = span(reader, page.limit + 1, top)
    rows = connection.execute(page_of(names_of(reader)), within).all()
    items = [dict(zip(LISTED_FIELDS, row, strict=True)) for row in rows[: page.limit]]
    more = len(rows) > page.limit
    return {
        "items": items,
        "next_cursor": encode_cursor(POSITION_ADAPTER, items[-1]["id"]) if more else None,
    }


@cache
def page_of(names: int | None) -> Select[Any]:
    """Kept for each number of names: to build it takes longer than to run it."""
    return select_newest_visible(names, LISTED_COLUMNS)


def get_stats(session: Session, reader: User) -> DocumentStats:
    """What the reader may see, counted."""
    size, owned = func.sum(Document.size), Document.owner_id == reader.user_id
    columns = (Document.content_type, func.count(), size, func.count().filter(owned))
    statement = filter_visible(select(*columns), reader).group_by(Document.content_type)
    rows = session.execute(statement).all()
    kinds, counts, sizes, own = zip(*rows, strict=True) if rows else ((), (), (), ())
    by_type = dict(zip(kinds, counts, strict=True))
    return DocumentStats(documents=sum(counts), bytes=sum(sizes), by_type=by_type, owned=sum(own))


def get_current_state(
    connection: Connection, reader: User, document_id: UUID
) -> Row[int, datetime]:
    """What tells whether a copy of the document is the newest. UnknownDocument if invisible."""
    statement = (
        SELECT_ANY_STATE
        if reader.has_permission(ALL_DOCUMENTS_PERMISSION)
        else SELECT_VISIBLE_STATE
    )
    parameters = {"document_id": document_id, "names": get_grantees(reader)}
    found = connection.execute(statement, parameters).one_or_none()
    if found is None:
        raise UnknownDocument("There is no such document")
    return found


def change_document(
    session: Session, editor: User, document_id: UUID, if_match: str, changes: DocumentUpdate
) -> Document:
    document = get_document_to_change(session, editor, document_id, if_match)
    values = changes.model_dump(exclude_none=True)
    if not values:
        raise Unprocessable("Give at least one of title, body and tags")
    if changes.body is not None:
        check_is_text(document)
        values |= describe_text(changes.body)
    return save_new_version(session, document, editor, "document.updated", values)


def replace_file(
    session: Session, editor: User, document_id: UUID, if_match: str, new: UploadFile
) -> Document:
    """Title and tags stay; what was there before, a text too, stays in its version."""
    document = get_document_to_change(session, editor, document_id, if_match)
    file = store_upload(session, new)
    find_duplicate(
        session, editor, file["sha256"], but=document_id
    )  # which raises where none may be
    return save_new_version(session, document, editor, "file.replaced", file)


def check_is_text(document: Document) -> None:
    if document.body is None:
        raise Unprocessable.for_field("body", "is not for this document, which is an uploaded file")


def download_document(session: Session, reader: User, document_id: UUID) -> Document:
    document = get_document(session, reader, document_id)
    audit.record(session, reader, document_id, "document.downloaded", version=document.version)
    return document
