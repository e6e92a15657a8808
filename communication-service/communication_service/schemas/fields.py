"""Field types that several requests and responses use."""

import json
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from chassis.schemas import JsonObject, Text


def check_one_line(text: str) -> str:
    """Refuses what could begin another header in an email."""
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text):
        raise ValueError("must be one line, without control characters")
    return text


def limit_json_size(max_characters: int) -> AfterValidator:
    """Returns a validator that refuses large JSON values."""

    def check(value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value)) > max_characters:
            raise ValueError(f"must have at most {max_characters} characters as JSON")
        return value

    return AfterValidator(check)


Subject = Annotated[Text, Field(min_length=1, max_length=300), AfterValidator(check_one_line)]
Body = Annotated[Text, Field(min_length=1, max_length=100_000)]
TemplateName = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Channel = Literal["email", "in_app", "webhook", "sms"]
Locale = Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Variables = Annotated[JsonObject, limit_json_size(100_000)]
