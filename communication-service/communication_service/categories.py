"""Notification categories: their names, the category of security messages, and rate limits."""

from typing import Annotated

from pydantic import Field

from chassis.schemas import RequestModel

SECURITY = "security"
"""The category of messages such as a password reset; their text is redacted once delivered."""

EVERY_CATEGORY = "*"
"""Stands for every category that is not named."""

CATEGORY_PATTERN = r"^[a-z0-9]+([_-][a-z0-9]+)*$"
Category = Annotated[str, Field(max_length=50, pattern=CATEGORY_PATTERN)]
CategoryOrEvery = Annotated[str, Field(max_length=50, pattern=rf"{CATEGORY_PATTERN}|^\*$")]


class RateLimit(RequestModel):
    """Allows `amount` notifications of a category on each channel within `seconds`."""

    amount: int = Field(ge=1, le=1000)
    seconds: int = Field(ge=1, le=366 * 24 * 60 * 60)
