"""What to do with a delivery now: send it, put it off, or not send it at all, and why. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import cast
from zoneinfo import ZoneInfo

from ..schemas.fields import Channel
from ..schemas.preferences import Limit, QuietHours, Wishes

EVERY = "*"
"""In the place of a category: all that are not named."""


@dataclass(frozen=True)
class Decision:
    """To send, unless there is a reason: then never, or not before `until`."""

    reason: str | None = None
    until: datetime | None = None


SEND = Decision()


@dataclass(frozen=True)
class Case:
    """All that counts for one delivery. `recent` is how many the limit has seen lately."""

    category: str
    channel: str
    wishes: Wishes
    is_mandatory: bool = False
    is_urgent: bool = False
    suppressed_because: str | None = None
    limit: Limit | None = None
    recent: int = 0


def decide(case: Case, now: datetime) -> Decision:
    if case.is_mandatory:
        return SEND
    if case.suppressed_because:
        return Decision(case.suppressed_because)
    if not wants(case.wishes, case.category, case.channel):
        return Decision(f"The recipient wants no {case.channel} of the category {case.category}")
    if not case.is_urgent and (until := end_of_quiet(case, now)):
        return Decision("The recipient has quiet hours", until)
    if case.limit and case.recent >= case.limit.amount:
        most = f"{case.limit.amount} within {case.limit.seconds} seconds"
        return Decision(f"Beyond the recipient's limit for the category {case.category}: {most}")
    return SEND


def wants(wishes: Wishes, category: str, channel: str) -> bool:
    on = [wishes.categories.get(name, {}).get(cast(Channel, channel)) for name in (category, EVERY)]
    return next((said for said in on if said is not None), True)


def end_of_quiet(case: Case, now: datetime) -> datetime | None:
    quiet = case.wishes.quiet_hours
    return end_of(quiet, now) if quiet and case.channel in quiet.channels else None


def end_of(quiet: QuietHours, now: datetime) -> datetime | None:
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
