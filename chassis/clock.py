"""The clock of every service."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time with its time zone, which is UTC."""
    return datetime.now(UTC)
