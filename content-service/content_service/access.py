"""Who may see and do what: the one place that decides, and it decides inside the query."""

from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Select, and_, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Forbidden, NotFound

from .models import Access, Document, Level

EVERY_DOCUMENT = "documents:all"  # given to no role: only a permission of * holds it
LEVELS = list(Level)

AnySelect = TypeVar("AnySelect", bound=Select[*tuple[Any, ...]])


class UnknownDocument(NotFound):
    """There is none, or the caller may not know that there is one."""


class LevelTooLow(Forbidden):
    """The caller may see the document, but not do this with it."""


def visible(statement: AnySelect, user: User, needed: Level = Level.READ) -> AnySelect:
    """Narrows a statement on Document to those on which the user has the level."""
    return narrowed(statement, user.may(EVERY_DOCUMENT), user.user_id, needed)


def narrowed(
    statement: AnySelect, sees_all: bool, user_id: Any, needed: Level = Level.READ
) -> AnySelect:
    """`visible` for a statement that is built once, with a parameter for the user."""
    statement = statement.where(Document.deleted_at.is_(None))
    if sees_all:
        return statement
    grants = and_(
        Access.document_id == Document.id,
        Access.user_id == user_id,
        Access.level.in_(LEVELS[LEVELS.index(needed) :]),
    )
    return statement.join(Access, grants)


def find_document(
    session: Session,
    user: User,
    document_id: UUID,
    needed: Level = Level.READ,
    *,
    lock: bool = False,
) -> Document:
    """`lock` holds the row until the end of the request, so that its state cannot change."""
    statement = visible(select(Document).where(Document.id == document_id), user, needed)
    if lock:
        statement = statement.with_for_update(of=Document)
    document = session.scalar(statement)
    if document is None:
        raise refusal(session, user, document_id, needed)
    return document


def refusal(session: Session, user: User, document_id: UUID, needed: Level) -> Exception:
    seen = visible(select(Document.id).where(Document.id == document_id), user)
    if session.scalar(seen) is None:
        return UnknownDocument("There is no such document")
    return LevelTooLow(f"This needs the level {needed} on the document")
