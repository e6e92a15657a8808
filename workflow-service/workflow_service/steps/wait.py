"""wait: for a number of seconds, or until a time."""

from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import AwareDatetime, Field

from .protocol import Done, Pending, StepAttempt, StepOutput, StepType, register

MAX_WAIT_SECONDS = 366 * 86400.0


class WaitOutput(StepOutput):
    until: datetime


@register("wait")
class Wait(StepType):
    """Takes `seconds`, or `until`: a time with its zone. No worker is busy meanwhile."""

    output_model: ClassVar[type[StepOutput]] = WaitOutput
    exactly_one_of: ClassVar[tuple[str, ...]] = ("seconds", "until")

    seconds: float | None = Field(default=None, ge=0, le=MAX_WAIT_SECONDS)
    until: AwareDatetime | None = None

    def perform(self, attempt: StepAttempt) -> Done | Pending:
        over = self.until or attempt.step.created_at + timedelta(seconds=self.seconds or 0)
        # run_at was compared with the clock of the database; that of this machine may be wrong.
        if over <= attempt.step.run_at:
            return Done({"until": over.isoformat()})
        return Pending(over)
