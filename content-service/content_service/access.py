"""Decides who may see and change a document: always inside the query that reads it.

A user reaches a document through a grant to themselves or to one of their roles. Start reading at
`filter_visible`; `get_document` is for one document, `select_newest` for lists and searches.
"""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Select,
    Text,
    Uuid,
    any_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    union,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from chassis.auth import User
from chassis.errors import Forbidden, NotFound

from .models import ROLE_PREFIX, USER_PREFIX, Document, Grant, Level

ALL_DOCUMENTS_PERMISSION = "documents:all"  # no role lists it: only the permission * includes it
LEVELS = list(Level)  # the lowest first
LOWEST_ID = UUID(int=0)
HIGHEST_ID = UUID(int=2**128 - 1)

# Parameters of `select_newest`; `build_range` builds their values.
TOP_ID = bindparam("top_id", type_=Uuid)
BOTTOM_ID = bindparam("bottom_id", type_=Uuid)
LIMIT = bindparam("limit", type_=Integer)

AnySelect = TypeVar("AnySelect", bound=Select[*tuple[Any, ...]])
Columns = Sequence[InstrumentedAttribute[Any]]


class UnknownDocument(NotFound):
    """Raised when a document does not exist, or the caller may not know that it does."""


class LevelTooLow(Forbidden):
    """Raised when the caller may see the document, but not do this with it."""


def can_see_all_documents(user: User) -> bool:
    return user.has_permission(ALL_DOCUMENTS_PERMISSION)


def get_grantees(user: User) -> list[str]:
    """Return the grantees that stand for the user: their own and one for each role."""
    return [USER_PREFIX + user.user_id, *(ROLE_PREFIX + role for role in user.roles)]


def filter_visible(
    statement: AnySelect, user: User, needed: Level = Level.READ, *, trashed: bool = False
) -> AnySelect:
    """Restrict a statement on Document to documents on which the user has the level."""
    grantees = literal(get_grantees(user), ARRAY(Text))
    return filter_by_grantees(
        statement, None if can_see_all_documents(user) else grantees, needed, trashed
    )


def filter_by_grantees(
    statement: AnySelect, grantees: Any, needed: Level = Level.READ, trashed: bool = False
) -> AnySelect:
    """Restrict a statement to what SQL grantees may see; None sees every document."""
    is_in_place = Document.deleted_at.is_not(None) if trashed else Document.deleted_at.is_(None)
    statement = statement.where(is_in_place)
    if grantees is None:
        return statement
    is_granted = (Grant.document_id == Document.id) & (Grant.grantee == any_(grantees))
    return statement.where(exists().where(is_granted, has_level(needed)))


def has_level(needed: Level) -> ColumnElement[bool]:
    """Build the condition that a grant gives at least this level and has not expired."""
    is_sufficient = Grant.level == any_(literal(LEVELS[LEVELS.index(needed) :], ARRAY(Text)))
    return is_sufficient & or_(Grant.expires_at.is_(None), Grant.expires_at > func.now())


def count_grantees(user: User) -> int | None:
    """Return the number of grantees for `select_newest`; None for a user who may see everything."""
    return None if can_see_all_documents(user) else len(get_grantees(user))


def select_newest(columns: Columns, grantee_count: int | None, *conditions: Any) -> Select[Any]:
    """Select the newest documents that a user may read; run it with `build_range`.

    Takes the newest documents of each grantee, in the order of the primary key of the grants, so
    a page costs the same whatever share of all documents the user may see and however old it is.
    """
    newest = select(*columns).order_by(Document.id.desc()).limit(LIMIT)
    is_in_range = Document.id.between(BOTTOM_ID, TOP_ID)
    conditions = (is_in_range, Document.deleted_at.is_(None), *conditions)
    if grantee_count is None:
        return newest.where(*conditions)
    # A subquery for each, so that PostgreSQL knows how many grants it has. One lateral join over
    # unnest(grantees) takes the same plan for all: two seconds for a user with few documents.
    grantees: list[ColumnElement[str]] = [bindparam(f"grantee_{n}") for n in range(grantee_count)]
    ids = union(*(select_newest_granted(grantee, *conditions) for grantee in grantees))
    return newest.where(Document.id.in_(ids))


def select_newest_granted(grantee: ColumnElement[str], *conditions: Any) -> Select[UUID]:
    ids = select(Grant.document_id).join(Document, Document.id == Grant.document_id)
    ids = ids.where(Grant.grantee == grantee, has_level(Level.READ), *conditions)
    # PostgreSQL does not derive this range from that of Document.id; it would read newer grants.
    ids = ids.where(Grant.document_id.between(BOTTOM_ID, TOP_ID))
    return ids.order_by(Grant.document_id.desc()).limit(LIMIT)


def build_range(
    user: User, limit: int, top_id: UUID = HIGHEST_ID, bottom_id: UUID = LOWEST_ID
) -> dict[str, Any]:
    """Build the parameters for up to `limit` documents from `top_id` down to `bottom_id`."""
    grantees = {f"grantee_{number}": name for number, name in enumerate(get_grantees(user))}
    return {**grantees, "limit": limit, "top_id": top_id, "bottom_id": bottom_id}


def get_preceding_id(document_id: UUID) -> UUID:
    """Return the id right before this one, where the next page begins."""
    return UUID(int=max(0, document_id.int - 1))


def get_document(
    session: Session,
    user: User,
    document_id: UUID,
    needed: Level = Level.READ,
    *,
    lock: bool = False,
    trashed: bool = False,
) -> Document:
    """Return a document on which the user has the level, or raise UnknownDocument or LevelTooLow.

    `lock` holds its row until the end of the transaction, so that its state cannot change.
    """
    found = select(Document).where(Document.id == document_id)
    statement = filter_visible(found, user, needed, trashed=trashed)
    if lock:
        statement = statement.with_for_update(of=Document)
    document = session.scalar(statement)
    if document is None:
        raise build_access_error(session, user, document_id, needed, trashed)
    return document


def build_access_error(
    session: Session, user: User, document_id: UUID, needed: Level, trashed: bool
) -> Exception:
    """Choose between 404 and 403: a trashed document is 404 to everyone who may not restore it."""
    readable = filter_visible(select(Document.id).where(Document.id == document_id), user)
    if trashed or session.scalar(readable) is None:
        return UnknownDocument("There is no such document")
    return LevelTooLow(f"This needs the level {needed} on the document")
