"""Requests and responses about preferences and suppressions."""

from datetime import datetime
from functools import cache
from typing import Annotated, get_args
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from chassis.schemas import RequestModel, ResponseModel, Text, example

from ..categories import CategoryOrEvery, RateLimit
from .fields import Channel

get_time_zones = cache(available_timezones)  # reads many files


def check_time_zone(name: str) -> str:
    if name not in get_time_zones():
        raise ValueError("must be the name of a time zone, such as Europe/Vienna")
    return name


ClockTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="As in 22:00.")]
TimeZone = Annotated[
    str, Field(max_length=50, description="As in Europe/Vienna."), AfterValidator(check_time_zone)
]
ALL_CHANNELS = get_args(Channel)


class QuietHours(RequestModel):
    """Sets quiet hours in the recipient's local time; they may span midnight."""

    start: ClockTime
    end: ClockTime
    timezone: TimeZone
    channels: set[Channel] = Field(
        default=set(ALL_CHANNELS),
        json_schema_extra={"default": list(ALL_CHANNELS)},  # a set has no order of its own
        description="The channels that wait until the end.",
    )

    @field_validator("end")
    @classmethod
    def check_end(cls, end: str, info: ValidationInfo) -> str:
        if end == info.data.get("start"):
            raise ValueError("must differ from the start")
        return end


class NotificationPreferences(RequestModel):
    """Holds what a user wants. Channels are on by default; * means every other category."""

    model_config = example(
        categories={"newsletter": {"email": False}},
        limits={"*": {"amount": 20, "seconds": 3600}},
        quiet_hours={"start": "22:00", "end": "07:00", "timezone": "Europe/Vienna"},
    )

    categories: dict[CategoryOrEvery, dict[Channel, bool]] = Field(
        default={}, max_length=100, description="Which channels are on, by category."
    )
    limits: dict[CategoryOrEvery, RateLimit] = Field(
        default={}, max_length=100, description="How many notifications, by category."
    )
    quiet_hours: QuietHours | None = Field(
        default=None, description="When only urgent notifications are sent."
    )


class SuppressionCreate(RequestModel):
    model_config = example(
        user_id="0198c1a2-7a5e-7c3b-9d41-2f6b8e0c4d10", channel="sms", reason="The number is wrong."
    )

    user_id: UUID
    channel: Channel = "email"
    category: CategoryOrEvery = Field(default="*", description="`*` is every category.")
    reason: Annotated[Text, Field(min_length=1, max_length=500)]


class SuppressionRead(ResponseModel):
    """Says that a user gets nothing of a category on a channel."""

    id: UUID
    user_id: UUID
    channel: Channel
    category: str = Field(description="`*` is every category.")
    reason: str
    author_id: UUID | None = Field(description="Null if the user unsubscribed by a link.")
    created_at: datetime


class PreferencesRead(ResponseModel):
    categories: dict[str, dict[Channel, bool]] = Field(
        description="Which channels are on, by category."
    )
    limits: dict[str, RateLimit] = Field(description="The user's own limits, by category.")
    quiet_hours: QuietHours | None
    default_limits: dict[str, RateLimit] = Field(
        description="The limits for categories without one of the user's own."
    )
    mandatory_categories: list[str] = Field(description="The categories that cannot be turned off.")
    suppressions: list[SuppressionRead]
