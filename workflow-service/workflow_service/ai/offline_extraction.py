"""Finds facts without a model: a value follows its field's name, or has the field's format."""

import re
from collections.abc import Callable
from typing import Any

from chassis.schemas import JsonObject

FORMAT_PATTERNS = {
    "date": r"\b\d{4}-\d{2}-\d{2}\b",
    "email": r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}",
    "uuid": r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
}
MAX_VALUE_CHARACTERS = 200  # how far after a field's name its value may stand


def extract(text: str, schema: JsonObject) -> JsonObject:
    """Return the fields that the text mentions, and leave out the others."""
    properties = schema.get("properties", {})
    found = {name: find_value(text, name, field) for name, field in properties.items()}
    return {name: value for name, value in found.items() if value is not None}


def find_value(text: str, name: str, field: JsonObject) -> Any:
    """Look for a value after the field's name, then for one of its format anywhere in the text."""
    label = r"[\s_-]+".join(map(re.escape, re.split(r"[\s_-]+", field.get("title") or name)))
    after_label = rf"[ \t]*(?::|=|\bis\b|\bwas\b)?(.{{1,{MAX_VALUE_CHARACTERS}}})"
    labelled = re.search(rf"(?i)\b{label}\b{after_label}", text)
    if labelled and (value := parse_value(labelled[1], field)) is not None:
        return value
    is_recognizable = "enum" in field or field.get("format") in FORMAT_PATTERNS
    return parse_value(text, field) if is_recognizable else None


def parse_value(text: str, field: JsonObject) -> Any:
    """Return the first value in the text that fits the field, or None."""
    if choices := field.get("enum"):
        return next((choice for choice in choices if is_mentioned(text, str(choice))), None)
    if pattern := FORMAT_PATTERNS.get(field.get("format", "")):
        return match[0] if (match := re.search(pattern, text)) else None
    parse = PARSERS_BY_TYPE.get(field["type"])  # no text looks like a nested object or null
    return parse(text, field) if parse else None


def is_mentioned(text: str, value: str) -> bool:
    return re.search(rf"(?i)(?<!\w){re.escape(value)}(?!\w)", text) is not None


def parse_number(text: str, field: JsonObject) -> float | int | None:
    found = re.search(r"[-+]?\d[\d,]*(?:\.\d+)?", text)
    if found is None:
        return None
    value = float(found[0].replace(",", ""))
    return int(value) if field["type"] == "integer" or value.is_integer() else value


def parse_boolean(text: str, field: JsonObject) -> bool | None:
    found = re.search(r"(?i)\b(?:(yes|true)|no|not|false)\b", text)
    return None if found is None else found[1] is not None


def parse_string(text: str, field: JsonObject) -> str | None:
    """Return the rest of the sentence."""
    return re.split(r"[.;!?](?:\s|$)", text)[0].strip(" \t\"'") or None


def parse_array(text: str, field: JsonObject) -> list[Any] | None:
    parts = re.split(r"\s*(?:,|;|\band\b)\s*", parse_string(text, field) or "")
    values = [parse_value(part, field.get("items", {"type": "string"})) for part in parts]
    return [value for value in values if value is not None] or None


PARSERS_BY_TYPE: dict[str, Callable[[str, JsonObject], Any]] = {
    "string": parse_string,
    "number": parse_number,
    "integer": parse_number,
    "boolean": parse_boolean,
    "array": parse_array,
}
