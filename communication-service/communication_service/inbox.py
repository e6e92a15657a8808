"""What a person can do with the notifications in their inbox; nobody else's can be seen."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import NotFound
from chassis.pagination import PageParameters, paginate

from .models import InboxItem


class UnknownInboxItem(NotFound):
    """There is none, or it is in somebody else's inbox."""


def of(user: User, *, only_unread: bool = False) -> Select[InboxItem]:
    items = select(InboxItem).where(InboxItem.user_id == user.user_id)
    return items.where(InboxItem.read_at.is_(None)) if only_unread else items


def list_items(
    session: Session, user: User, page: PageParameters, only_unread: bool
) -> dict[str, Any]:
    return paginate(session, of(user, only_unread=only_unread), page, InboxItem.id)


def count_unread(session: Session, user: User) -> dict[str, int]:
    unread = of(user, only_unread=True).with_only_columns(func.count())
    return {"unread": session.execute(unread).scalar_one()}


def mark_read(session: Session, user: User, item_id: UUID) -> InboxItem:
    """Reading again keeps the time of the first."""
    item = session.scalar(of(user).where(InboxItem.id == item_id).with_for_update())
    if item is None:
        raise UnknownInboxItem("There is no such notification in your inbox")
    item.read_at = item.read_at or datetime.now(UTC)
    return item


def mark_all_read(session: Session, user: User) -> dict[str, int]:
    unread = (InboxItem.user_id == user.user_id) & InboxItem.read_at.is_(None)
    statement = update(InboxItem).where(unread).values(read_at=func.now())
    return {"read": len(session.scalars(statement.returning(InboxItem.id)).all())}
