"""Decides who may see and change a document: always inside the query that reads it.

A user reaches a document through a grant to themselves or to one of their roles. Start reading at
`filter_visible`; `get_document` is for one document, `select_newest` for lists and searches.
"""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from chassis.auth import User
from chassis.errors import Forbidden, NotFound

from .models import ROLE_PREFIX, USER_PREFIX, Document, Grant, Level

ALL_DOCUMENTS_PERMISSION = "documents:all"  # no role lists it: only the permission * includes it
LEVELS = list(Level)  # the lowest first
LOWEST_ID = UUID(int=0)
HIGHEST_ID = UUID(int=2**128 - 1)

# Parameters of `select_newest`; `build_range` builds their values.
TOP_ID = sa.bindparam("top_id", type_=sa.Uuid)
BOTTOM_ID = sa.bindparam("bottom_id", type_=sa.Uuid)
LIMIT = sa.bindparam("limit", type_=sa.Integer)

AnySelect = TypeVar("AnySelect", bound=sa.Select[*tuple[Any, ...]])
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
    sees_all = can_see_all_documents(user)
    grantees = None if sees_all else sa.literal(get_grantees(user), sa.ARRAY(sa.Text))
    return filter_by_grantees(statement, grantees, needed, trashed)


def filter_by_grantees(
    statement: AnySelect, grantees: Any, needed: Level = Level.READ, trashed: bool = False
) -> AnySelect:
    """Restrict a statement to what SQL grantees may see; None sees every document."""
    is_in_place = Document.deleted_at.is_not(None) if trashed else Document.deleted_at.is_(None)
    statement = statement.where(is_in_place)
    if grantees is None:
        return statement
    is_granted = (Grant.document_id == Document.id) & (Grant.grantee == sa.any_(grantees))
    return statement.where(sa.exists().where(is_granted, has_level(needed)))


def has_level(needed: Level) -> sa.ColumnElement[bool]:
    """Build the condition that a grant gives at least this level and has not expired."""
    sufficient = LEVELS[LEVELS.index(needed) :]
    is_sufficient = Grant.level == sa.any_(sa.literal(sufficient, sa.ARRAY(sa.Text)))
    return is_sufficient & sa.or_(Grant.expires_at.is_(None), Grant.expires_at > sa.func.now())


def count_grantees(user: User) -> int | None:
    """Return the number of grantees for `select_newest`; None for a user who may see everything."""
    return None if can_see_all_documents(user) else len(get_grantees(user))


def select_newest(columns: Columns, grantee_count: int | None, *conditions: Any) -> sa.Select[Any]:
    """Select the newest documents that a user may read; run it with `build_range`.

    Takes the newest documents of each grantee, in the order of the primary key of the grants, so
    a page costs the same whatever share of all documents the user may see and however old it is.
    """
    newest = sa.select(*columns).order_by(Document.id.desc()).limit(LIMIT)
    is_in_range = Document.id.between(BOTTOM_ID, TOP_ID)
    conditions = (is_in_range, Document.deleted_at.is_(None), *conditions)
    if grantee_count is None:
        return newest.where(*conditions)
    # A subquery for each, so that PostgreSQL knows how many grants it has. One lateral join over
    # unnest(grantees) takes the same plan for all: two seconds for a user with few documents.
    grantees = (sa.bindparam(f"grantee_{n}", type_=sa.Text) for n in range(grantee_count))
    ids = sa.union(*(select_newest_granted(grantee, *conditions) for grantee in grantees))
    return newest.where(Document.id.in_(ids))


def select_newest_granted(grantee: sa.ColumnElement[str], *conditions: Any) -> sa.Select[UUID]:
    ids = sa.select(Grant.document_id).join(Document, Document.id == Grant.document_id)
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
    """Return a document on which a user has a level, or raise UnknownDocument, LevelTooLow."""
    found = sa.select(Document).where(Document.id == document_id)
    statement = filter_visible(found, user, needed, trashed=trashed)
    if lock:
        statement = statement.with_for_update(of=Document)
    document = session.scalar(statement)
    if document is not None:
        return document
    # A trashed document answers 404 to everyone who may not restore it.
    if trashed or session.scalar(filter_visible(found, user)) is None:
        raise UnknownDocument("There is no such document")
    raise LevelTooLow(f"This needs the level {needed} on the document")
