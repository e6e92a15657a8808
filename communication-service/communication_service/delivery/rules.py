"""What to do with a delivery now: send it, put it off, or not send it at all, and why. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from ..schemas.fields import Channel
from ..schemas.preferences import NotificationPreferences, QuietHours, RateLimit

EVERY_CATEGORY = "*"
"""In the place of a category: all that are not named."""


@dataclass(frozen=True)
class Decision:
    """To send, unless there is a reason: then never, or not before `until`."""

    reason: str | None = None
    until: datetime | None = None


SEND = Decision()


@dataclass(frozen=True)
class DeliveryFacts:
    """All that counts for one delivery. `recent` is how many the limit has seen lately."""

    category: str
    channel: str
    preferences: NotificationPreferences
    is_mandatory: bool = False
    is_urgent: bool = False
    suppression_reason: str | None = None
    limit: RateLimit | None = None
    recent_count: int = 0


def decide(facts: DeliveryFacts, now: datetime) -> Decision:
    if facts.is_mandatory:
        return SEND
    if facts.suppression_reason:
        return Decision(facts.suppression_reason)
    if not is_channel_enabled(facts.preferences, facts.category, facts.channel):
        return Decision(f"The recipient wants no {facts.channel} of the category {facts.category}")
    if not facts.is_urgent and (until := find_quiet_end(facts, now)):
        return Decision("The recipient has quiet hours", until)
    if facts.limit and facts.recent_count >= facts.limit.amount:
        most = f"{facts.limit.amount} within {facts.limit.seconds} seconds"
        return Decision(f"Beyond the recipient's limit for the category {facts.category}: {most}")
    return SEND


def is_channel_enabled(preferences: NotificationPreferences, category: str, channel: str) -> bool:
    on = [
        preferences.categories.get(name, {}).get(cast(Channel, channel))
        for name in (category, EVERY_CATEGORY)
    ]
    return next((said for said in on if said is not None), True)


def find_quiet_end(facts: DeliveryFacts, now: datetime) -> datetime | None:
    quiet = facts.preferences.quiet_hours
    return find_end(quiet, now) if quiet and facts.channel in quiet.channels else None


def find_end(quiet: QuietHours, now: datetime) -> datetime | None:
    """When the quiet hours of this moment end; None when it is not quiet."""
    zone = ZoneInfo(quiet.timezone)
    here = now.astimezone(zone)
    clock = f"{here:%H:%M}"
    if quiet.start < quiet.end:
        is_quiet = quiet.start <= clock < quiet.end
    else:
        is_quiet = clock >= quiet.start or clock < quiet.end
    if not is_quiet:
        return None
    day = here.date() + timedelta(days=clock >= quiet.end)
    end = datetime.combine(day, time.fromisoformat(quiet.end), zone)
    # Where clocks are put back, an hour comes twice, and its first time may be over.
    both = (end.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return next(time for time in both if time > now)
