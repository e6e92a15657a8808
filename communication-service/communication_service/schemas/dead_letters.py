"""Requests and responses about dead letters."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, StrictBool

from chassis.schemas import RequestModel, ResponseModel, example

from ..categories import Category
from .fields import Channel

DeliveryIds = Annotated[
    list[UUID] | None,
    Field(min_length=1, max_length=1000, description="Only these; null is all."),
]


class DeadLetterFilter(RequestModel):
    """Selects the dead letters that match every given field."""

    model_config = example(channel="email", category="newsletter")

    delivery_ids: DeliveryIds = None
    channel: Channel | None = None
    category: Category | None = None
    recipient_id: UUID | None = None


class DeadLetterPurge(DeadLetterFilter):
    model_config = example(channel="email", category="newsletter", dry_run=True)

    dry_run: StrictBool = Field(default=False, description="Only count what would be purged.")


class DeadLetterRead(ResponseModel):
    id: UUID = Field(description="The id of the delivery.")
    notification_id: UUID
    channel: Channel
    endpoint_id: UUID | None = Field(description="The webhook endpoint; null on other channels.")
    sender_id: UUID
    recipient_id: UUID
    category: str
    attempts: int
    reason: str | None = Field(
        validation_alias="last_error", description="Why the last attempt failed."
    )
    queued_at: datetime = Field(description="When it entered the queue, or was put back last.")


class DeadLetterOperationRead(ResponseModel):
    """Describes a replay or purge."""

    id: UUID | None = Field(description="Null for a dry run, which is not recorded.")
    action: Literal["replay", "purge"]
    actor_id: UUID = Field(description="The user who did it.")
    acting_service: str | None = Field(description="The service that acted for the user, if any.")
    which: dict[str, Any] = Field(description="The filter of the request.")
    count: int = Field(description="How many dead letters matched.")
    trace_id: str | None = Field(description="Finds the request in the logs of every service.")
    created_at: datetime | None
