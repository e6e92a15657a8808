"""Responses about the inbox."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from chassis.event_stream import StreamedEvent, StreamOpened
from chassis.schemas import ResponseModel


class InboxItemRead(ResponseModel):
    id: UUID
    notification_id: UUID
    sender_id: UUID
    category: str
    subject: str
    body: str
    created_at: datetime
    read_at: datetime | None = Field(description="Null while the item is unread.")
    archived_at: datetime | None = Field(description="Null unless the item is archived.")


class InboxItemAdded(StreamedEvent):
    """Brings a new item."""

    event: Literal["item"] = "item"
    data: InboxItemRead


InboxEvent = Annotated[StreamOpened | InboxItemAdded, Field(discriminator="event")]


class UnreadCount(ResponseModel):
    unread: int


class ReadCount(ResponseModel):
    read: int = Field(description="How many items were unread until now.")
