"""The rules: what is sent, delayed or suppressed, in many time zones."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from communication_service.categories import RateLimit
from communication_service.delivery.rules import SEND, Decision, DeliveryFacts, decide
from communication_service.schemas.preferences import NotificationPreferences

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def build_facts(preferences: dict[str, Any] | None = None, **facts: Any) -> DeliveryFacts:
    given = {"category": "news", "channel": "email", **facts}
    return DeliveryFacts(
        preferences=NotificationPreferences.model_validate(preferences or {}), **given
    )


def quiet(start: str, end: str, timezone: str, **more: Any) -> dict[str, Any]:
    return {"quiet_hours": {"start": start, "end": end, "timezone": timezone, **more}}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("categories", "is_sent"),
    [
        ({}, True),
        ({"news": {"email": False}}, False),
        ({"news": {"in_app": False}}, True),
        ({"other": {"email": False}}, True),
        ({"*": {"email": False}}, False),
        ({"*": {"email": False}, "news": {"email": True}}, True),
        ({"*": {"email": False}, "news": {"in_app": True}}, False),
    ],
)
def test_a_channel_is_on_unless_the_recipient_has_turned_it_off(
    categories: dict[str, Any], is_sent: bool
) -> None:
    decision = decide(build_facts({"categories": categories}), NOON)

    assert (decision == SEND) is is_sent
    assert is_sent or decision == Decision("The recipient wants no email of the category news")


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (("22:00", "07:00", "Europe/Vienna"), "2026-07-01T21:59+02:00", None),
        (("22:00", "07:00", "Europe/Vienna"), "2026-07-01T22:00+02:00", "2026-07-02T07:00+02:00"),
        (("22:00", "07:00", "Europe/Vienna"), "2026-07-02T06:59+02:00", "2026-07-02T07:00+02:00"),
        (("22:00", "07:00", "Europe/Vienna"), "2026-07-02T07:00+02:00", None),
        (("12:00", "13:30", "Asia/Kathmandu"), "2026-07-01T12:30+05:45", "2026-07-01T13:30+05:45"),
        (("12:00", "13:30", "Asia/Kathmandu"), "2026-07-01T13:30+05:45", None),
        # The nights in which clocks are put forward and back.
        (("23:00", "07:00", "Europe/Vienna"), "2026-03-28T23:30+01:00", "2026-03-29T07:00+02:00"),
        (("23:00", "07:00", "Europe/Vienna"), "2026-10-24T23:30+02:00", "2026-10-25T07:00+01:00"),
        # An end that is skipped in that night, and one that occurs twice.
        (("23:00", "02:30", "Europe/Vienna"), "2026-03-29T01:59+01:00", "2026-03-29T03:30+02:00"),
        (("23:00", "02:30", "Europe/Vienna"), "2026-10-25T02:10+02:00", "2026-10-25T02:30+02:00"),
        (("23:00", "02:30", "Europe/Vienna"), "2026-10-25T02:10+01:00", "2026-10-25T02:30+01:00"),
    ],
)
def test_quiet_hours_put_off_until_they_end_by_the_recipients_clock(
    hours: tuple[str, str, str], now: str, until: str | None
) -> None:
    expected = Decision("The recipient has quiet hours", at(until)) if until else SEND

    assert decide(build_facts(quiet(*hours)), at(now)) == expected


@pytest.mark.parametrize(
    "timezone", ["Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca", "Pacific/Apia"]
)
@pytest.mark.parametrize(("start", "end"), [("22:00", "07:00"), ("01:30", "02:15")])
def test_whatever_the_clocks_do_what_is_put_off_is_due_later_and_then_sent(
    timezone: str, start: str, end: str
) -> None:
    waiting = build_facts(quiet(start, end, timezone))
    for minutes in range(0, 60 * 24 * 365, 37):
        now = datetime(2011, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
        until = decide(waiting, now).until

        if until is not None:
            assert now < until <= now + timedelta(hours=34)  # Apia had no 30 December in 2011
            assert decide(waiting, until) == SEND


def test_what_is_urgent_passes_quiet_hours_and_no_refusal() -> None:
    night = quiet("00:00", "23:59", "UTC")
    refusal = {"categories": {"news": {"email": False}}}

    assert decide(build_facts(night, is_urgent=True), NOON) == SEND
    assert decide(build_facts(refusal, is_urgent=True), NOON) != SEND


def test_quiet_hours_are_for_the_channels_they_name() -> None:
    night = quiet("00:00", "23:59", "UTC", channels=["email"])

    assert decide(build_facts(night), NOON).until is not None
    assert decide(build_facts(night, channel="in_app"), NOON) == SEND


def test_a_limit_is_reached_by_as_many_as_it_names() -> None:
    limit = RateLimit(amount=3, seconds=60)

    assert decide(build_facts(limit=limit, recent_count=2), NOON) == SEND
    assert decide(build_facts(limit=limit, recent_count=3), NOON).reason == (
        "Beyond the recipient's limit for the category news: 3 within 60 seconds"
    )


def test_what_is_mandatory_passes_everything() -> None:
    preferences = {"categories": {"*": {"email": False}}, **quiet("00:00", "23:59", "UTC")}
    limit = RateLimit(amount=1, seconds=60)
    forced = build_facts(
        preferences, is_mandatory=True, suppression_reason="x", limit=limit, recent_count=9
    )

    assert decide(forced, NOON) == SEND
