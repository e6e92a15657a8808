"""Base models of requests and responses, and the texts, times and JSON PostgreSQL can store."""

from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict

MAX_DEPTH = 20
MAX_VALUES = 10_000


class RequestModel(BaseModel):
    """Validates what a client sends; a field that the model does not name is an error."""

    model_config = ConfigDict(extra="forbid")


class ResponseModel(BaseModel):
    """Shows a row, or any object with these attributes, to a client."""

    model_config = ConfigDict(from_attributes=True)


def example(**fields: Any) -> ConfigDict:
    """Show a body in the documentation: `model_config = example(title="Minutes")`."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


def check_text(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be well-formed Unicode, without lone surrogates") from None
    return text


def refuse_number(value: Any) -> Any:
    """Refuse seconds since 1970, which pydantic accepts and the document does not."""
    try:
        float(value)
    except (TypeError, ValueError):
        return value
    raise ValueError("must be a time such as 2026-11-30T12:00:00Z")


def convert_to_utc(time: datetime) -> datetime:
    """Convert a time, because PostgreSQL refuses an offset of sixteen hours or more."""
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error


def check_json_object(value: dict[str, Any]) -> dict[str, Any]:
    """Check every string in a JSON object, its depth and its size."""
    pending: list[tuple[Any, int]] = [(value, 1)]
    seen = 0
    while pending:
        item, depth = pending.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            raise ValueError(f"must have at most {MAX_VALUES} values, nested {MAX_DEPTH} deep")
        if isinstance(item, str):
            check_text(item)
        elif isinstance(item, dict):
            pending += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, float) and not isfinite(item):
            raise ValueError("must not contain NaN or infinity")
        elif isinstance(item, list):
            pending += [(part, depth + 1) for part in item]
    return value


Time = Annotated[AwareDatetime, BeforeValidator(refuse_number), AfterValidator(convert_to_utc)]
Text = Annotated[str, AfterValidator(check_text)]
JsonObject = Annotated[dict[str, Any], AfterValidator(check_json_object)]
