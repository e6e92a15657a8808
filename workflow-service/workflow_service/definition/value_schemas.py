"""What is known of values before a run, as JSON Schema. Open it for "did you mean"."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

Schema = Mapping[str, Any]
OPEN: Schema = {}  # nothing is known, so that anything may be read of the value
MAX_COMPARED_NAMES = 100
MAX_LISTED_NAMES = 20
MAX_NAME_CHARACTERS = 100


def build_object(members: Mapping[str, Schema]) -> Schema:
    """Return the schema of an object that has no other members; each may be missing."""
    return {"type": "object", "properties": members, "additionalProperties": False}


def build_union(schemas: Iterable[Schema]) -> Schema:
    # Flat and without duplicates, so that unions of unions stay small.
    parts = {id(part): part for each in schemas for part in each.get("anyOf", [each])}
    if any("type" not in part for part in parts.values()):
        return OPEN
    return {"anyOf": [*parts.values()]} if parts else OPEN


def inline_references(schema: Any, definitions: Schema) -> Any:
    """Replace each `$ref` by what it refers to; schemas of outputs are not recursive."""
    if isinstance(schema, list):
        return [inline_references(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return inline_references(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: inline_references(part, definitions) for key, part in schema.items()}


def find_member(schema: Schema, name: str | int | None) -> Schema | None:
    """Return what is known of a member, or None if there is none; the name None is any name."""
    if "anyOf" in schema:
        members = [find_member(part, name) for part in schema["anyOf"]]
        found = [member for member in members if member is not None]
        return build_union(found) if found else None
    if "type" not in schema:
        return OPEN
    if schema["type"] == "array":
        return None if isinstance(name, str) else schema.get("items", OPEN)
    if schema["type"] != "object":
        return None
    if isinstance(name, str) and name in schema.get("properties", {}):
        member: Schema = schema["properties"][name]
        return member
    return OPEN if name is None or schema.get("additionalProperties", True) is not False else None


def list_members(schema: Schema) -> list[str]:
    parts = schema.get("anyOf", [schema])
    return [*dict.fromkeys(name for part in parts for name in part.get("properties", {}))]


def suggest(name: str, known: Iterable[str]) -> str | None:
    """Return the end of a message about an unknown name: the known name closest to it."""
    names = [each[:MAX_NAME_CHARACTERS] for each in islice(known, MAX_COMPARED_NAMES)]
    close = get_close_matches(name[:MAX_NAME_CHARACTERS], names, n=1)
    return f": did you mean {close[0]!r}?" if close else None


def suggest_or_list(name: str, known: Iterable[str], what: str) -> str:
    """Return the end of a message: the closest name, or what there is: `; the steps are: a, b`."""
    names = [*known]
    shown = ", ".join(each[:MAX_NAME_CHARACTERS] for each in names[:MAX_LISTED_NAMES])
    return suggest(name, names) or (f"; {what}: {shown}" if names else "")
