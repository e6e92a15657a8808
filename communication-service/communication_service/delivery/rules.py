"""Decides whether a delivery is sent now, later or never, from facts alone (no database)."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from ..categories import EVERY_CATEGORY, RateLimit
from ..schemas.fields import Channel
from ..schemas.preferences import NotificationPreferences


@dataclass(frozen=True)
class Decision:
    """Means "send" without a reason; else never, or not before `until`."""

    reason: str | None = None
    until: datetime | None = None


SEND = Decision()


@dataclass(frozen=True)
class DeliveryFacts:
    """Holds what the rules look at; `recent_count` is what the limit has counted so far."""

    category: str
    channel: str
    preferences: NotificationPreferences
    is_mandatory: bool = False
    is_urgent: bool = False
    suppression_reason: str | None = None
    limit: RateLimit | None = None
    recent_count: int = 0


def decide(facts: DeliveryFacts, now: datetime) -> Decision:
    category = facts.category
    if facts.is_mandatory:
        return SEND
    if facts.suppression_reason:
        return Decision(facts.suppression_reason)
    if not is_channel_enabled(facts.preferences, category, facts.channel):
        return Decision(f"The recipient wants no {facts.channel} of the category {category}")
    if not facts.is_urgent and (until := find_quiet_end(facts, now)):
        return Decision("The recipient has quiet hours", until)
    if facts.limit and facts.recent_count >= facts.limit.amount:
        limit = f"{facts.limit.amount} within {facts.limit.seconds} seconds"
        return Decision(f"Beyond the recipient's limit for the category {category}: {limit}")
    return SEND


def is_channel_enabled(preferences: NotificationPreferences, category: str, channel: str) -> bool:
    """Prefers a category's own setting to that of every category; the default is on."""
    for name in (category, EVERY_CATEGORY):
        is_enabled = preferences.categories.get(name, {}).get(cast(Channel, channel))
        if is_enabled is not None:
            return is_enabled
    return True


def find_quiet_end(facts: DeliveryFacts, now: datetime) -> datetime | None:
    """Returns when the quiet hours around this moment end; None outside quiet hours."""
    quiet_hours = facts.preferences.quiet_hours
    if quiet_hours is None or facts.channel not in quiet_hours.channels:
        return None
    zone = ZoneInfo(quiet_hours.timezone)
    local = now.astimezone(zone)
    clock = f"{local:%H:%M}"
    start = quiet_hours.start
    end = quiet_hours.end
    is_quiet = start <= clock < end if start < end else clock >= start or clock < end
    if not is_quiet:
        return None
    day = local.date() + timedelta(days=clock >= end)
    end_time = datetime.combine(day, time.fromisoformat(end), zone)
    # When clocks are put back, an hour comes twice, and its first occurrence may be over.
    first = end_time.replace(fold=0).astimezone(UTC)
    return first if first > now else end_time.replace(fold=1).astimezone(UTC)
