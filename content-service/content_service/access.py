"""Who may see and do what: the one place that decides, and it decides inside the query."""

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

ALL_DOCUMENTS_PERMISSION = "documents:all"  # given to no role: only a permission of * holds it
LEVELS = list(Level)
LOWEST_ID, HIGHEST_ID = UUID(int=0), UUID(int=2**128 - 1)

TOP, BOTTOM = bindparam("top", type_=Uuid), bindparam("bottom", type_=Uuid)
LIMIT = bindparam("limit", type_=Integer)

AnySelect = TypeVar("AnySelect", bound=Select[*tuple[Any, ...]])
Columns = Sequence[InstrumentedAttribute[Any]]


class UnknownDocument(NotFound):
    """There is none, or the caller may not know that there is one."""


class LevelTooLow(Forbidden):
    """The caller may see the document, but not do this with it."""


def get_grantees(user: User) -> list[str]:
    """Every name under which a grant may mean the user."""
    return [USER_PREFIX + user.user_id, *(ROLE_PREFIX + role for role in user.roles)]


def has_level(needed: Level) -> ColumnElement[bool]:
    """Whether a grant is of this level or a higher one, and has not run out."""
    is_enough = Grant.level == any_(literal(LEVELS[LEVELS.index(needed) :], ARRAY(Text)))
    return is_enough & or_(Grant.expires_at.is_(None), Grant.expires_at > func.now())


def filter_visible(
    statement: AnySelect, user: User, needed: Level = Level.READ, *, trashed: bool = False
) -> AnySelect:
    """Narrows a statement on Document to those on which the user has the level."""
    names = (
        None
        if user.has_permission(ALL_DOCUMENTS_PERMISSION)
        else literal(get_grantees(user), ARRAY(Text))
    )
    return filter_by_grantees(statement, names, needed, trashed)


def filter_by_grantees(
    statement: AnySelect, names: Any, needed: Level = Level.READ, trashed: bool = False
) -> AnySelect:
    """`visible` for the names of a user, or a parameter for them; None sees every document."""
    is_there = Document.deleted_at.is_not(None) if trashed else Document.deleted_at.is_(None)
    statement = statement.where(is_there)
    if names is None:
        return statement
    is_mine = (Grant.document_id == Document.id) & (Grant.grantee == any_(names))
    return statement.where(exists().where(is_mine, has_level(needed)))


def select_newest_visible(names: int | None, columns: Columns, *conditions: Any) -> Select[Any]:
    """The newest documents of a `span`, for somebody with so many names; None sees every document.

    Each name's grants are an index in this very order, so that a page costs the same whatever
    share of all documents the user may see, and wherever in the order they are.
    """
    found = select(*columns).order_by(Document.id.desc()).limit(LIMIT)
    conditions = (Document.deleted_at.is_(None), *conditions)
    if names is None:
        return found.where(Document.id.between(BOTTOM, TOP), *conditions)
    of_each = (of_one_name(bindparam(f"name_{n}")).where(*conditions) for n in range(names))
    return found.where(Document.id.in_(union(*of_each)))


def of_one_name(name: ColumnElement[str]) -> Select[UUID]:
    ids = select(Grant.document_id).join(Document, Document.id == Grant.document_id)
    ids = ids.where(Grant.grantee == name, has_level(Level.READ))
    # Both: PostgreSQL does not conclude from one id to the other, and would walk all above.
    ids = ids.where(Grant.document_id.between(BOTTOM, TOP), Document.id.between(BOTTOM, TOP))
    return ids.order_by(Grant.document_id.desc()).limit(LIMIT)


def names_of(user: User) -> int | None:
    """How many, for `newest`."""
    return None if user.has_permission(ALL_DOCUMENTS_PERMISSION) else len(get_grantees(user))


def span(
    user: User, limit: int, top: UUID = HIGHEST_ID, bottom: UUID = LOWEST_ID
) -> dict[str, Any]:
    """The parameters of `newest`: so many from `top` down to `bottom`, both included."""
    names = {f"name_{n}": name for n, name in enumerate(get_grantees(user))}
    return {**names, "limit": limit, "top": top, "bottom": bottom}


def get_preceding_id(document_id: UUID) -> UUID:
    """The id right before this one: where the next page begins."""
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
    """`lock` holds the row until the end of the request, so that its state cannot change."""
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
    """What is in the trash exists for those only who may take it out."""
    seen = filter_visible(select(Document.id).where(Document.id == document_id), user)
    if trashed or session.scalar(seen) is None:
        return UnknownDocument("There is no such document")
    return LevelTooLow(f"This needs the level {needed} on the document")
