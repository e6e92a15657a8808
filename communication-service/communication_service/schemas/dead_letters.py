"""Requests and responses about dead letters."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from chassis.schemas import RequestModel, ResponseModel

from ..categories import Category
from .fields import Channel


class DeadLetterFilter(RequestModel):
    """Selects the dead letters that match every given field."""

    delivery_ids: Annotated[list[UUID] | None, Field(min_length=1, max_length=1000)] = None
    channel: Channel | None = None
    category: Category | None = None
    recipient_id: UUID | None = None


class DeadLetterPurge(DeadLetterFilter):
    dry_run: bool = False


class DeadLetterRead(ResponseModel):
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


class DeadLetterOperationRead(ResponseModel):
    """Describes a replay or purge. Without an id it was a dry run."""

    id: UUID | None
    action: str
    actor_id: UUID
    acting_service: str | None
    which: dict[str, Any]
    count: int
    trace_id: str | None
    created_at: datetime | None
