"""What every request model is made of: strict objects, and text that PostgreSQL can store."""

from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict

STRICT = ConfigDict(extra="forbid")
"""Unknown fields are refused: `model_config = STRICT` in every request model."""

MAX_DEPTH = 20
MAX_VALUES = 10_000


def check_text(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be well-formed Unicode, without lone surrogates") from None
    return text


def check_json_object(value: dict[str, Any]) -> dict[str, Any]:
    """Checks every string in a JSON object, and that it is neither deep nor endless."""
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


Text = Annotated[str, AfterValidator(check_text)]
JsonObject = Annotated[dict[str, Any], AfterValidator(check_json_object)]
