"""Dead letters, and what was done with them, over the wire."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from .fields import Category, Channel, Given, Shown


class DeadLetterFilter(Given):
    """Which ones: those that every given field is true of."""

    delivery_ids: Annotated[list[UUID] | None, Field(min_length=1, max_length=1000)] = None
    channel: Channel | None = None
    category: Category | None = None
    recipient_id: UUID | None = None


class DeadLetterPurge(DeadLetterFilter):
    dry_run: bool = False


class DeadLetterRead(Shown):
    id: UUID
    notification_id: UUID
    channel: str
    endpoint_id: UUID | None
    sender_id: UUID
    recipient_id: UUID
    category: str
    attempts: int
    reason: str | None = Field(validation_alias="last_error")
    queued_at: datetime


class OperationRead(Shown):
    """What somebody did with dead letters. Without an id it was a dry run."""

    id: UUID | None
    action: str
    actor_id: UUID
    acting_service: str | None
    which: dict[str, Any]
    count: int
    trace_id: str | None
    created_at: datetime | None
