"""Requests and responses about preferences and suppressions."""

from datetime import datetime
from functools import cache
from typing import Annotated, get_args
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from chassis.schemas import RequestModel, ResponseModel, Text

from ..categories import CategoryOrEvery, RateLimit
from .fields import Channel

get_time_zones = cache(available_timezones)  # reads many files


def check_time_zone(name: str) -> str:
    if name not in get_time_zones():
        raise ValueError("must be the name of a time zone, such as Europe/Vienna")
    return name


ClockTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
TimeZone = Annotated[str, Field(max_length=50), AfterValidator(check_time_zone)]


class QuietHours(RequestModel):
    """Sets quiet hours in the recipient's local time; they may span midnight."""

    start: ClockTime
    end: ClockTime
    timezone: TimeZone
    channels: set[Channel] = Field(default=set(get_args(Channel)))

    @field_validator("end")
    @classmethod
    def check_end(cls, end: str, info: ValidationInfo) -> str:
        if end == info.data.get("start"):
            raise ValueError("must differ from the start")
        return end


class NotificationPreferences(RequestModel):
    """Holds what a user wants. Channels are on by default; * means every other category."""

    categories: dict[CategoryOrEvery, dict[Channel, bool]] = Field(default={}, max_length=100)
    limits: dict[CategoryOrEvery, RateLimit] = Field(default={}, max_length=100)
    quiet_hours: QuietHours | None = None


class SuppressionCreate(RequestModel):
    user_id: UUID
    channel: Channel = "email"
    category: CategoryOrEvery = "*"
    reason: Annotated[Text, Field(min_length=1, max_length=500)]


class SuppressionRead(ResponseModel):
    id: UUID
    user_id: UUID
    channel: str
    category: str
    reason: str
    author_id: UUID | None
    created_at: datetime


class PreferencesRead(ResponseModel):
    categories: dict[str, dict[str, bool]]
    limits: dict[str, RateLimit]
    quiet_hours: QuietHours | None
    default_limits: dict[str, RateLimit]
    mandatory_categories: list[str]
    suppressions: list[SuppressionRead]
