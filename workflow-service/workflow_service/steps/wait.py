"""wait: for some time, or until some time."""

from datetime import timedelta
from typing import ClassVar

from pydantic import AwareDatetime, Field

from .protocol import Again, Call, Done, Kind

LONGEST = 366 * 86400.0


class Wait(Kind):
    """Takes seconds, or until: a time with its zone. No worker is busy meanwhile."""

    either: ClassVar[tuple[str, ...]] = ("seconds", "until")

    seconds: float | None = Field(default=None, ge=0, le=LONGEST)
    until: AwareDatetime | None = None

    def perform(self, call: Call) -> Done | Again:
        over = self.until or call.step.created_at + timedelta(seconds=self.seconds or 0)
        # It was due at run_at by the database's clock; that of this machine may be wrong.
        return Done({"until": over.isoformat()}) if over <= call.step.run_at else Again(over)
