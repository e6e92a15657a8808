"""Responses about the inbox."""

from datetime import datetime
from uuid import UUID

from chassis.schemas import ResponseModel


class InboxItemRead(ResponseModel):
    id: UUID
    notification_id: UUID
    sender_id: UUID
    category: str
    subject: str
    body: str
    created_at: datetime
    read_at: datetime | None
    archived_at: datetime | None


class UnreadCount(ResponseModel):
    unread: int


class ReadCount(ResponseModel):
    read: int
