"""The caller's own inbox."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter

from chassis.auth import CurrentUser
from chassis.pagination import Page, PageRequest

from .. import inbox
from ..database import DbSession
from ..models import InboxItem
from ..schemas import InboxItemRead, ReadCount, UnreadCount

router = APIRouter(prefix="/inbox")


@router.get("", response_model=Page[InboxItemRead])
def list_items(
    page: PageRequest, user: CurrentUser, session: DbSession, unread: bool = False
) -> dict[str, Any]:
    """The caller's notifications, newest first; with `unread=true` only those not read yet."""
    return inbox.list_items(session, user, page, unread)


@router.get("/unread-count", response_model=UnreadCount)
def count_unread(user: CurrentUser, session: DbSession) -> dict[str, int]:
    """How many of the caller's notifications are not read yet."""
    return inbox.count_unread(session, user)


@router.put("/read-all", response_model=ReadCount)
def mark_all_read(user: CurrentUser, session: DbSession) -> dict[str, int]:
    """Mark everything in the caller's inbox as read."""
    return inbox.mark_all_read(session, user)


@router.put("/{item_id}/read", response_model=InboxItemRead)
def mark_read(item_id: UUID, user: CurrentUser, session: DbSession) -> InboxItem:
    """Mark one notification in the caller's inbox as read."""
    return inbox.mark_read(session, user, item_id)
