"""Responses about the inbox."""

from datetime import datetime
from uuid import UUID

from .fields import Shown


class InboxItemRead(Shown):
    id: UUID
    notification_id: UUID
    sender_id: UUID
    category: str
    subject: str
    body: str
    created_at: datetime
    read_at: datetime | None
    archived_at: datetime | None


class UnreadCount(Shown):
    unread: int


class ReadCount(Shown):
    read: int
