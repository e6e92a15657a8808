"""Requests and responses about notifications, deliveries and attempts."""

from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    computed_field,
    field_validator,
    model_validator,
)

from chassis.clock import now
from chassis.schemas import JsonObject, RequestModel, ResponseModel, Time, example

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


EXAMPLE_RECIPIENT = "0198c1a2-7a5e-7c3b-9d41-2f6b8e0c4d10"

DeliveryStatus = Literal["running", "pending", "dead", "delivered", "suppressed", "cancelled"]
AttemptOutcome = Literal["delivered", "rejected", "failed", "unknown", "lost", "superseded"]
Priority = Literal["urgent", "normal", "bulk"]
SendAt = Annotated[Time, AfterValidator(check_send_at)]


class NotificationBase(RequestModel):
    """Holds all of a notification but its recipients."""

    channels: set[Channel] = Field(
        default={"email", "in_app"},
        min_length=1,
        json_schema_extra={"default": ["email", "in_app"]},  # a set has no order of its own
        description="Where to send it; `webhook` sends to each of the recipient's endpoints.",
    )
    category: Category = Field(
        default="general", description="What recipients turn on and off in their preferences."
    )
    template: TemplateName | None = Field(
        default=None, description="The name of a template, in place of `subject` and `body`."
    )
    variables: Variables = Field(default={}, description="The values for the template.")
    subject: Subject | None = Field(
        default=None, validate_default=True, description="Needed without a template."
    )
    body: Body | None = Field(
        default=None, validate_default=True, description="Plain text; needed without a template."
    )
    send_at: SendAt | None = Field(
        default=None,
        description="Not before this time, at most a year ahead; null or past is at once.",
    )
    priority: Priority = Field(
        default="normal",
        description="`urgent` ignores quiet hours and overtakes all others; `bulk` comes last.",
    )

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
    model_config = example(
        recipient_id=EXAMPLE_RECIPIENT, subject="Minutes", body="The minutes are online."
    )

    recipient_id: UUID = Field(description="The id of a user.")


class BulkRecipient(RequestModel):
    """Names one recipient of many."""

    recipient_id: UUID
    variables: JsonObject = Field(default={}, description="Added to those for all recipients.")


class BulkNotificationCreate(NotificationBase):
    model_config = example(
        recipients=[{"recipient_id": EXAMPLE_RECIPIENT}],
        category="newsletter",
        subject="News",
        body="What is new this month.",
    )

    recipients: Annotated[list[BulkRecipient], Field(min_length=1, max_length=1000)]
    priority: Priority = Field(
        default="bulk", description="`urgent` needs the permission notifications:mandatory."
    )

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
    """Says what became of the notification for one recipient."""

    recipient_id: UUID
    status: Literal["accepted", "duplicate", "refused"] = Field(
        description="`duplicate`: the recipient occurs earlier in the request."
    )
    notification_id: UUID | None = Field(default=None, description="Null if refused.")
    error: str | None = Field(default=None, description="Why it is refused.")


class BulkNotificationResult(ResponseModel):
    accepted: int = Field(description="How many notifications were accepted.")
    items: list[BulkRecipientResult] = Field(description="In the order of the recipients.")


class DeliveryRead(ResponseModel):
    """Describes a notification on one channel or webhook endpoint."""

    id: UUID
    channel: Channel
    endpoint_id: UUID | None = Field(description="The webhook endpoint; null on other channels.")
    status: DeliveryStatus
    attempts: int
    run_at: datetime = Field(description="When the next attempt is due, or was last due.")
    reason: str | None = Field(
        validation_alias="last_error", description="Why it is not delivered, or not yet."
    )


class NotificationRead(RenderedText):
    id: UUID
    status: DeliveryStatus = Field(description="The status of its least finished delivery.")
    sender_id: UUID
    recipient_id: UUID
    channels: list[Channel]
    category: str
    template: str | None
    template_version: int | None
    send_at: datetime | None
    trace_id: str | None = Field(description="Finds its request in the logs of every service.")
    created_at: datetime
    deliveries: list[DeliveryRead]

    @model_validator(mode="after")
    def hide_secret_text(self) -> "NotificationRead":
        """Hides, for example, the link of a password reset from the sender and stored responses."""
        if self.category == SECURITY:
            self.body = ""
            self.html = None
        return self

    @computed_field(description="The path to read this notification from.")  # type: ignore[prop-decorator]
    @property
    def status_url(self) -> str:
        return f"/api/v1/notifications/{self.id}"


class AttemptRead(ResponseModel):
    """Describes one attempt to deliver a notification on one channel."""

    id: UUID
    channel: Channel
    number: int = Field(description="Counts the attempts of the delivery, from 1.")
    started_at: datetime
    finished_at: datetime | None
    outcome: AttemptOutcome | None = Field(
        description="delivered; rejected (permanently refused); failed (will be retried);"
        " unknown (no answer, it may have arrived); lost (the worker crashed); superseded (another"
        " worker took over); null while it is running"
    )
    error: str | None
    response: str | None = Field(description="What the mail server, API or endpoint answered.")
    trace_id: str | None

    @computed_field(description="How long the attempt took; null while it is running.")  # type: ignore[prop-decorator]
    @property
    def latency_ms(self) -> float | None:
        if self.finished_at is None:
            return None
        return round((self.finished_at - self.started_at).total_seconds() * 1000, 3)


class AttemptList(ResponseModel):
    items: list[AttemptRead]


class QueueStatus(ResponseModel):
    accepted: int = Field(description="How many deliveries there are in all.")
    deliveries: dict[DeliveryStatus, int] = Field(description="How many have each status.")
    due: int = Field(description="How many could be sent now.")
    oldest_due_at: datetime | None = Field(description="Since when the oldest of them is due.")
