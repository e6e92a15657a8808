"""What goes over the wire."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, Literal, get_args
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    computed_field,
    field_validator,
    model_validator,
)

from chassis.schemas import STRICT, JsonObject, Text

FURTHEST = timedelta(days=366)
SECURITY = "security"
"""The category of mails such as a reset of a password."""


def one_line(text: str) -> str:
    """Into the header of a mail goes nothing that could begin another one."""
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise ValueError("must be one line, without control characters")
    return text


def within_a_year(time: datetime) -> datetime:
    """Past times mean now."""
    now = datetime.now(UTC)
    if time > now + FURTHEST:
        raise ValueError("must lie within a year from now")
    return max(time, now)


def small(most: int) -> AfterValidator:
    def check(value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value)) > most:
            raise ValueError(f"must have at most {most} characters as JSON")
        return value

    return AfterValidator(check)


time_zones = cache(available_timezones)  # looking for them all takes a while


def known_time_zone(name: str) -> str:
    if name not in time_zones():
        raise ValueError("must be the name of a time zone, such as Europe/Vienna")
    return name


Subject = Annotated[Text, Field(min_length=1, max_length=300), AfterValidator(one_line)]
Body = Annotated[Text, Field(min_length=1, max_length=100_000)]
Name = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
CATEGORY = r"^[a-z0-9]+([_-][a-z0-9]+)*$"
Category = Annotated[str, Field(max_length=50, pattern=CATEGORY)]
CategoryOrEvery = Annotated[str, Field(max_length=50, pattern=rf"{CATEGORY}|^\*$")]
Categories = Annotated[list[Category] | None, Field(min_length=1, max_length=50)]
Channel = Literal["email", "in_app", "webhook", "sms"]
Url = Annotated[Text, Field(min_length=1, max_length=2000)]
Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
TimeZone = Annotated[str, Field(max_length=50), AfterValidator(known_time_zone)]
Locale = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Variables = Annotated[JsonObject, small(100_000)]
VariablesSchema = Annotated[JsonObject, small(10_000)]
Priority = Literal["urgent", "normal", "bulk"]
SendAt = Annotated[AwareDatetime, AfterValidator(within_a_year)]


class Given(BaseModel):
    """What a client sends."""

    model_config = STRICT


class Shown(BaseModel):
    """What a client gets, from a row or an object with these attributes."""

    model_config = ConfigDict(from_attributes=True)


class Parts(Given):
    """Of a template, in one language."""

    subject: Subject
    body: Body
    html: Body | None = None


class TemplateUpdate(Parts):
    translations: dict[Locale, Parts] = Field(default={}, max_length=20)
    variables_schema: VariablesSchema | None = None

    @field_validator("translations")
    @classmethod
    def one_of_each(cls, value: dict[str, Parts]) -> dict[str, Parts]:
        if len({tag.lower() for tag in value}) < len(value):
            raise ValueError("must have each language once, whether in capitals or not")
        return value


class TemplateCreate(TemplateUpdate):
    name: Name


class TemplateRender(Given):
    variables: Variables = {}
    locale: Locale | None = None


class TemplatePreview(TemplateRender, TemplateUpdate):
    pass


class Rendered(Shown):
    subject: str
    body: str
    html: str | None = None


class RenderedIn(Rendered):
    locale: str | None = Field(description="Of the translation; null is the template's own.")


class TemplateRead(Rendered):
    translations: dict[str, Rendered]
    variables_schema: JsonObject | None
    id: UUID
    name: str
    version: int
    built_in: bool
    author_id: UUID | None
    created_at: datetime


class Sending(Given):
    """What is said, how and when; to whom is said elsewhere."""

    channels: set[Channel] = Field(default={"email", "in_app"}, min_length=1)
    category: Category = "general"
    template: Name | None = None
    variables: Variables = {}
    subject: Subject | None = Field(default=None, validate_default=True)
    body: Body | None = Field(default=None, validate_default=True)
    send_at: SendAt | None = None
    priority: Priority = "normal"

    @field_validator("variables")
    @classmethod
    def belong_to_a_template(cls, value: JsonObject, info: ValidationInfo) -> JsonObject:
        if value and info.data.get("template", "") is None:
            raise ValueError("need a template to be put into")
        return value

    @field_validator("subject", "body")
    @classmethod
    def instead_of_a_template(cls, value: str | None, info: ValidationInfo) -> str | None:
        template = info.data.get("template", "")  # None: not given; "": given, and wrong
        if value is None and template is None:
            raise ValueError("is needed where no template is named")
        if value is not None and template:
            raise ValueError("comes from the template")
        return value


class NotificationCreate(Sending):
    recipient_id: UUID


class BulkRecipient(Given):
    recipient_id: UUID
    variables: JsonObject = Field(default={}, description="On top of those for all.")


class BulkCreate(Sending):
    recipients: Annotated[list[BulkRecipient], Field(min_length=1, max_length=1000)]
    priority: Priority = "bulk"


class BulkItem(Shown):
    recipient_id: UUID
    status: Literal["accepted", "duplicate", "refused"]
    notification_id: UUID | None = None
    error: str | None = None


class BulkResult(Shown):
    accepted: int
    items: list[BulkItem]


class EndpointCreate(Given):
    url: Url
    categories: Categories = None


class EndpointUpdate(Given):
    """What is left out stays as it is."""

    url: Url = ""
    categories: Categories = None
    status: Literal["enabled", "disabled"] = "enabled"


class SecretRotation(Given):
    keep_old_seconds: int = Field(default=24 * 60 * 60, ge=0, le=7 * 24 * 60 * 60)


class EndpointRead(Shown):
    id: UUID
    url: str
    categories: list[str] | None
    status: str
    reason: str | None
    failures: int
    failing_since: datetime | None
    probe_at: datetime | None
    old_secret_until: datetime | None
    created_at: datetime


class EndpointWithSecret(EndpointRead):
    secret: str


class DeliveryRead(Shown):
    id: UUID
    channel: str
    endpoint_id: UUID | None
    status: str
    attempts: int
    run_at: datetime
    reason: str | None = Field(
        validation_alias="last_error", description="Why it is not delivered, or not yet."
    )


class NotificationRead(Rendered):
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
    def keep_secrets(self) -> "NotificationRead":
        """A link that resets a password is for its recipient, and in no stored answer."""
        if self.category == SECURITY:
            self.body, self.html = "", None
        return self

    @computed_field
    def status_url(self) -> str:
        return f"/api/v1/notifications/{self.id}"


class AttemptRead(Shown):
    id: UUID
    channel: str
    number: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: str | None
    response: str | None
    trace_id: str | None


class DeadLetters(Given):
    """Which ones: those that every given field is true of."""

    delivery_ids: Annotated[list[UUID] | None, Field(min_length=1, max_length=1000)] = None
    channel: Channel | None = None
    category: Category | None = None
    recipient_id: UUID | None = None


class DeadLettersPurge(DeadLetters):
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


class Attempts(Shown):
    items: list[AttemptRead]


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


class Limit(Given):
    """At most so many of a category, on each channel, within so many seconds."""

    amount: int = Field(ge=1, le=1000)
    seconds: int = Field(ge=1, le=366 * 24 * 60 * 60)


class QuietHours(Given):
    """By the clock on the recipient's wall; over midnight where the end comes before the start."""

    start: Clock
    end: Clock
    timezone: TimeZone
    channels: set[Channel] = set(get_args(Channel))

    @field_validator("end")
    @classmethod
    def is_not_the_start(cls, end: str, info: ValidationInfo) -> str:
        if end == info.data.get("start"):
            raise ValueError("must not be the start")
        return end


class Wishes(Given):
    """What a person wants. A channel is on where nothing is said; * is every other category."""

    categories: dict[CategoryOrEvery, dict[Channel, bool]] = Field(default={}, max_length=100)
    limits: dict[CategoryOrEvery, Limit] = Field(default={}, max_length=100)
    quiet_hours: QuietHours | None = None


class SuppressionCreate(Given):
    user_id: UUID
    channel: Channel = "email"
    category: CategoryOrEvery = "*"
    reason: Annotated[Text, Field(min_length=1, max_length=500)]


class SuppressionRead(Shown):
    id: UUID
    user_id: UUID
    channel: str
    category: str
    reason: str
    author_id: UUID | None
    created_at: datetime


class PreferencesRead(Shown):
    categories: dict[str, dict[str, bool]]
    limits: dict[str, Limit]
    quiet_hours: QuietHours | None
    default_limits: dict[str, Limit]
    mandatory_categories: list[str]
    suppressions: list[SuppressionRead]


class ReadCount(Shown):
    read: int


class QueueStatus(Shown):
    accepted: int
    deliveries: dict[str, int]
    due: int
    oldest_due_at: datetime | None
