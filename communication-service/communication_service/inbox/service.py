"""What users can do with the items in their own inbox, and how new items get there."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.clock import now
from chassis.errors import NotFound
from chassis.pagination import PageParameters, paginate

from ..models import NOT_ARCHIVED, UNREAD, Inbox, InboxItem
from ..schemas.inbox import ReadCount, UnreadCount


class UnknownInboxItem(NotFound):
    """Raised when the item does not exist or is in someone else's inbox."""


def add_items(session: Session, items: Sequence[dict[str, Any]]) -> None:
    """Adds InboxItems under a lock, so a reader who has seen a position has seen all below it."""
    # Sorted, so that two batches, which lock the same inboxes, cannot deadlock.
    counts = sorted(Counter(item["user_id"] for item in items).items())
    if not counts:
        return
    grown = insert(Inbox).values([{"user_id": user, "newest": count} for user, count in counts])
    total = {"newest": Inbox.newest + grown.excluded.newest}
    grown = grown.on_conflict_do_update(index_elements=[Inbox.user_id], set_=total)
    rows = session.execute(grown.returning(Inbox.user_id, Inbox.newest)).all()
    position = {user_id: newest for user_id, newest in rows}
    for item in reversed(items):
        item["position"] = position[item["user_id"]]
        position[item["user_id"]] -= 1
    session.execute(insert(InboxItem), items)


def select_items(user: User) -> Select[InboxItem]:
    return select(InboxItem).where(InboxItem.user_id == user.user_id)


def list_items(
    session: Session, user: User, page: PageParameters, only_unread: bool, archived: bool
) -> dict[str, Any]:
    is_listed = InboxItem.archived_at.is_not(None) if archived else NOT_ARCHIVED
    items = select_items(user).where(is_listed)
    items = items.where(InboxItem.read_at.is_(None)) if only_unread else items
    return paginate(session, items, page, InboxItem.position)


def count_unread(session: Session, user: User) -> UnreadCount:
    unread = select_items(user).where(UNREAD).with_only_columns(func.count())
    return UnreadCount(unread=session.execute(unread).scalar_one())


def mark_read(session: Session, user: User, item_id: UUID) -> InboxItem:
    """Marks an item as read; repeating it keeps the first time."""
    item = get_item(session, user, item_id)
    item.read_at = item.read_at or now()
    return item


def mark_all_read(session: Session, user: User) -> ReadCount:
    unread = update(InboxItem).where(InboxItem.user_id == user.user_id, UNREAD)
    read = session.scalars(unread.values(read_at=func.now()).returning(InboxItem.id))
    return ReadCount(read=len(read.all()))


def archive_item(session: Session, user: User, item_id: UUID) -> InboxItem:
    """Hides an item from the list and the unread count; archived items can be listed."""
    item = get_item(session, user, item_id)
    item.archived_at = item.archived_at or now()
    return item


def restore_item(session: Session, user: User, item_id: UUID) -> InboxItem:
    item = get_item(session, user, item_id)
    item.archived_at = None
    return item


def get_item(session: Session, user: User, item_id: UUID) -> InboxItem:
    item = session.scalar(select_items(user).where(InboxItem.id == item_id).with_for_update())
    if item is None:
        raise UnknownInboxItem("There is no such notification in your inbox")
    return item


def get_newest_positions(session: Session, user_ids: Collection[str]) -> dict[str, int]:
    """Returns the position of the newest item of each inbox that has one."""
    rows = session.execute(select(Inbox.user_id, Inbox.newest).where(Inbox.user_id.in_(user_ids)))
    return {user_id: position for user_id, position in rows}


def get_items_after(session: Session, user: User, position: int, limit: int) -> Sequence[InboxItem]:
    """Returns later items, oldest first, archived ones included."""
    later = select_items(user).where(InboxItem.position > position).order_by(InboxItem.position)
    return session.scalars(later.limit(limit)).all()
