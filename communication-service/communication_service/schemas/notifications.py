"""Requests and responses about notifications, deliveries and attempts."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    ValidationInfo,
    computed_field,
    field_validator,
    model_validator,
)

from chassis.clock import now
from chassis.schemas import JsonObject, RequestModel, ResponseModel

from ..categories import SECURITY, Category
from .fields import Body, Channel, Subject, TemplateName, Variables
from .templates import RenderedText

MAX_SEND_AHEAD = timedelta(days=366)


def check_send_at(time: datetime) -> datetime:
    """Refuses times more than a year ahead; past times mean now."""
    current = now()
    if time > current + MAX_SEND_AHEAD:
        raise ValueError("must lie within a year from now")
    return max(time, current)


Priority = Literal["urgent", "normal", "bulk"]
SendAt = Annotated[AwareDatetime, AfterValidator(check_send_at)]


class NotificationBase(RequestModel):
    """Holds all of a notification but its recipients."""

    channels: set[Channel] = Field(default={"email", "in_app"}, min_length=1)
    category: Category = "general"
    template: TemplateName | None = None
    variables: Variables = Field(default={})
    subject: Subject | None = Field(default=None, validate_default=True)
    body: Body | None = Field(default=None, validate_default=True)
    send_at: SendAt | None = None
    priority: Priority = "normal"

    @field_validator("variables")
    @classmethod
    def check_variables(cls, value: JsonObject, info: ValidationInfo) -> JsonObject:
        if value and info.data.get("template", "") is None:
            raise ValueError("are for templates; name one, or leave them out")
        return value

    @field_validator("subject", "body")
    @classmethod
    def check_text(cls, value: str | None, info: ValidationInfo) -> str | None:
        template = info.data.get("template", "")  # None when not given, "" when invalid
        if value is None and template is None:
            raise ValueError("is needed without a template")
        if value is not None and template:
            raise ValueError("comes from the template; leave it out")
        return value


class NotificationCreate(NotificationBase):
    recipient_id: UUID


class BulkRecipient(RequestModel):
    recipient_id: UUID
    variables: JsonObject = Field(default={}, description="Added to those for all recipients.")


class BulkNotificationCreate(NotificationBase):
    recipients: Annotated[list[BulkRecipient], Field(min_length=1, max_length=1000)]
    priority: Priority = "bulk"

    @field_validator("recipients")
    @classmethod
    def check_recipient_variables(
        cls, value: list[BulkRecipient], info: ValidationInfo
    ) -> list[BulkRecipient]:
        has_variables = any(recipient.variables for recipient in value)
        if has_variables and info.data.get("template", "") is None:
            raise ValueError("have variables, which are for templates; name one")
        return value


class BulkRecipientResult(ResponseModel):
    recipient_id: UUID
    status: Literal["accepted", "duplicate", "refused"]
    notification_id: UUID | None = None
    error: str | None = None


class BulkNotificationResult(ResponseModel):
    accepted: int
    items: list[BulkRecipientResult]


class DeliveryRead(ResponseModel):
    id: UUID
    channel: str
    endpoint_id: UUID | None
    status: str
    attempts: int
    run_at: datetime
    reason: str | None = Field(
        validation_alias="last_error", description="Why it is not delivered, or not yet."
    )


class NotificationRead(RenderedText):
    id: UUID
    status: str
    sender_id: UUID
    recipient_id: UUID
    channels: list[str]
    category: str
    template: str | None
    template_version: int | None
    send_at: datetime | None
    trace_id: str | None
    created_at: datetime
    deliveries: list[DeliveryRead]

    @model_validator(mode="after")
    def hide_secret_text(self) -> "NotificationRead":
        """Hides, for example, the link of a password reset from the sender and stored responses."""
        if self.category == SECURITY:
            self.body = ""
            self.html = None
        return self

    @computed_field
    def status_url(self) -> str:
        return f"/api/v1/notifications/{self.id}"


class AttemptRead(ResponseModel):
    id: UUID
    channel: str
    number: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None = Field(
        description="delivered; rejected (permanently refused); failed (will be retried);"
        " unknown (no answer, it may have arrived); lost (the worker crashed); superseded (another"
        " worker took over)"
    )
    error: str | None
    response: str | None
    trace_id: str | None

    @computed_field(description="Duration of the attempt; null while it is running.")  # type: ignore[prop-decorator]
    @property
    def latency_ms(self) -> float | None:
        if self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds() * 1000, 3)


class AttemptList(ResponseModel):
    items: list[AttemptRead]


class QueueStatus(ResponseModel):
    accepted: int
    deliveries: dict[str, int]
    due: int
    oldest_due_at: datetime | None
