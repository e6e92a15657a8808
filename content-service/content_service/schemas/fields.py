"""Types of fields, with their limits."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from chassis.clock import now
from chassis.job_queue import PENDING
from chassis.schemas import Text, Time, check_text

MAX_TAGS = 20
MAX_LIFETIME = timedelta(days=3653)  # the year 9999 would overflow in some time zones


def check_expiry(expires_at: datetime) -> datetime:
    if not timedelta(0) < expires_at - now() < MAX_LIFETIME:
        raise ValueError("must lie in the future, within ten years")
    return expires_at


# Lengths count after the stripping, so it comes first.
StrippedText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Title = Annotated[StrippedText, Field(max_length=200), AfterValidator(check_text)]
Tag = Annotated[StrippedText, Field(max_length=50), AfterValidator(check_text)]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS)]
Body = Annotated[Text, Field(max_length=1_000_000)]
QUEUE_TO_API = BeforeValidator(lambda status: "queued" if status == PENDING else status)
ProcessingStatus = Annotated[Literal["queued", "running", "done", "failed"], QUEUE_TO_API]
Expiry = Annotated[Time, AfterValidator(check_expiry)]
