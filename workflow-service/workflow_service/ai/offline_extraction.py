"""Facts found without any model: what stands beside a field's name, or looks like its kind."""

import re
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

FORMATS = {
    "date": r"\b\d{4}-\d{2}-\d{2}\b",
    "email": r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}",
    "uuid": r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
}
NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?"
LONGEST = 200  # characters after a field's name in which its value is looked for


def extract(text: str, schema: Schema) -> dict[str, Any]:
    """The fields of an object that the text names; those that it does not are left out."""
    found = {
        name: value_of(text, name, field) for name, field in schema.get("properties", {}).items()
    }
    return {name: value for name, value in found.items() if value is not None}


def value_of(text: str, name: str, field: Schema) -> Any:
    label = r"[\s_-]+".join(map(re.escape, re.split(r"[\s_-]+", field.get("title") or name)))
    beside = re.search(rf"(?i)\b{label}\b[ \t]*(?::|=|\bis\b|\bwas\b)?(.{{1,{LONGEST}}})", text)
    if beside and (value := read(beside[1], field)) is not None:
        return value
    looks_like_it = "enum" in field or field.get("format") in FORMATS
    return read(text, field) if looks_like_it else None


def read(text: str, field: Schema) -> Any:
    """The first value of the field's kind in the text, or None."""
    if choices := field.get("enum"):
        return next((choice for choice in choices if says(text, str(choice))), None)
    if pattern := FORMATS.get(field.get("format", "")):
        return match[0] if (match := re.search(pattern, text)) else None
    return READERS.get(field["type"], no_value)(text, field)


def says(text: str, value: str) -> bool:
    return re.search(rf"(?i)(?<!\w){re.escape(value)}(?!\w)", text) is not None


def number(text: str, field: Schema) -> float | int | None:
    found = re.search(NUMBER, text)
    if found is None:
        return None
    value = float(found[0].replace(",", ""))
    return int(value) if field["type"] == "integer" or value.is_integer() else value


def boolean(text: str, field: Schema) -> bool | None:
    found = re.search(r"(?i)\b(?:(yes|true)|no|not|false)\b", text)
    return None if found is None else found[1] is not None


def string(text: str, field: Schema) -> str | None:
    """The rest of the sentence."""
    return re.split(r"[.;!?](?:\s|$)", text)[0].strip(" \t\"'") or None


def array(text: str, field: Schema) -> list[Any] | None:
    parts = re.split(r"\s*(?:,|;|\band\b)\s*", string(text, field) or "")
    values = [read(part, field.get("items", {"type": "string"})) for part in parts]
    return [value for value in values if value is not None] or None


def no_value(text: str, field: Schema) -> None:
    """Objects in objects, and null: nothing in a text looks like them."""


READERS: dict[str, Callable[[str, Schema], Any]] = {
    "string": string,
    "number": number,
    "integer": number,
    "boolean": boolean,
    "array": array,
}
