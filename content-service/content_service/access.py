"""Who may see and do what: the one place that decides, and it decides inside the query."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Text, any_, exists, func, or_, select, union
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import InstrumentedAttribute, Session

from chassis.auth import User
from chassis.errors import Forbidden, NotFound

from .models import ROLE, USER, Access, Document, Level

EVERY_DOCUMENT = "documents:all"  # given to no role: only a permission of * holds it
LEVELS = list(Level)

AnySelect = TypeVar("AnySelect", bound=Select[*tuple[Any, ...]])
Columns = Sequence[InstrumentedAttribute[Any]]


class UnknownDocument(NotFound):
    """There is none, or the caller may not know that there is one."""


class LevelTooLow(Forbidden):
    """The caller may see the document, but not do this with it."""


def grantees(user: User) -> list[str]:
    """Every name under which a grant may mean the user."""
    return [USER + user.user_id, *(ROLE + role for role in user.roles)]


def allows(needed: Level) -> ColumnElement[bool]:
    """Whether a grant is of this level or a higher one, and has not run out."""
    is_enough = Access.level.in_(LEVELS[LEVELS.index(needed) :])
    return is_enough & or_(Access.expires_at.is_(None), Access.expires_at > func.now())


def visible(
    statement: AnySelect, user: User, needed: Level = Level.READ, *, trashed: bool = False
) -> AnySelect:
    """Narrows a statement on Document to those on which the user has the level."""
    names = None if user.may(EVERY_DOCUMENT) else grantees(user)
    return narrowed(statement, names, needed, trashed)


def narrowed(
    statement: AnySelect, names: Any, needed: Level = Level.READ, trashed: bool = False
) -> AnySelect:
    """`visible` for the names of a user, or a parameter for them; None sees every document."""
    is_there = Document.deleted_at.is_not(None) if trashed else Document.deleted_at.is_(None)
    statement = statement.where(is_there)
    if names is None:
        return statement
    is_mine = Access.grantee == any_(sql_cast(names, ARRAY(Text)))
    return statement.where(
        exists().where(Access.document_id == Document.id, is_mine, allows(needed))
    )


def newest(
    user: User,
    columns: Columns,
    *conditions: Any,
    limit: int,
    top: UUID | None = None,
    bottom: UUID | None = None,
) -> Select[Any]:
    """The newest documents that the user may read, from `top` down to `bottom`, both included.

    Each name's grants are an index in this very order, so that a page costs the same whatever
    share of all documents the user may see, and wherever in the order they are.
    """
    found = select(*columns).order_by(Document.id.desc()).limit(limit)
    conditions = (Document.deleted_at.is_(None), *conditions)
    if user.may(EVERY_DOCUMENT):
        return found.where(*conditions, *between(Document.id, top, bottom))
    of_each = (of_one_name(name, top, bottom).where(*conditions) for name in grantees(user))
    return found.where(Document.id.in_(union(*(ids.limit(limit) for ids in of_each))))


def of_one_name(name: str, top: UUID | None, bottom: UUID | None) -> Select[Any]:
    ids = select(Access.document_id).join(Document, Document.id == Access.document_id)
    ids = ids.where(Access.grantee == name, allows(Level.READ))
    # Both: PostgreSQL does not conclude from one id to the other, and would walk all above.
    for column in (Access.document_id, Document.id):
        ids = ids.where(*between(column, top, bottom))
    return ids.order_by(Access.document_id.desc())


def between(
    column: InstrumentedAttribute[UUID], top: UUID | None, bottom: UUID | None
) -> Iterator[ColumnElement[bool]]:
    if top is not None:
        yield column <= top
    if bottom is not None:
        yield column >= bottom


def before(document_id: UUID) -> UUID:
    """The id right before this one: where the next page begins."""
    return UUID(int=max(0, document_id.int - 1))


def find_document(
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
    statement = visible(found, user, needed, trashed=trashed)
    if lock:
        statement = statement.with_for_update(of=Document)
    document = session.scalar(statement)
    if document is None:
        raise refusal(session, user, document_id, needed, trashed)
    return document


def refusal(
    session: Session, user: User, document_id: UUID, needed: Level, trashed: bool
) -> Exception:
    """What is in the trash exists for those only who may take it out."""
    seen = visible(select(Document.id).where(Document.id == document_id), user)
    if trashed or session.scalar(seen) is None:
        return UnknownDocument("There is no such document")
    return LevelTooLow(f"This needs the level {needed} on the document")
