"""Checks variables against a subset of JSON Schema; patterns and references could be slow."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator

from chassis.errors import Unprocessable
from chassis.schemas import JsonObject

MAX_ERRORS = 20
MAX_MESSAGE_CHARACTERS = 200

SCHEMA = {"$ref": "#/$defs/schema"}
TYPE_NAME = {"enum": ["string", "number", "integer", "boolean", "null", "array", "object"]}
LIMITS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
KEYWORDS = {
    **{name: {"type": "string"} for name in ("title", "description")},
    "examples": {"type": "array"},
    "type": {"anyOf": [TYPE_NAME, {"type": "array", "items": TYPE_NAME, "minItems": 1}]},
    "enum": {"type": "array", "minItems": 1},
    "const": {},
    "properties": {"type": "object", "additionalProperties": SCHEMA},
    "required": {"type": "array", "items": {"type": "string"}},
    "additionalProperties": {"anyOf": [{"type": "boolean"}, SCHEMA]},
    "items": SCHEMA,
    **{name: {"type": "integer", "minimum": 0} for name in COUNTS},
    **{name: {"type": "number"} for name in LIMITS},
}
DEFINITION = {"type": "object", "additionalProperties": False, "properties": KEYWORDS}
SCHEMA_VALIDATOR = Draft202012Validator({**SCHEMA, "$defs": {"schema": DEFINITION}})


class BadSchema(Unprocessable):
    """Raised when the schema itself is wrong."""


class WrongVariables(Unprocessable):
    """Raised when variables do not match the schema; `errors` names each problem."""


def check_schema(schema: JsonObject) -> None:
    """Raises BadSchema, which names the field."""
    if problems := find_errors(SCHEMA_VALIDATOR, schema, "variables_schema"):
        raise BadSchema(summarize_errors(problems), errors=problems)


def check_variables(schema: JsonObject | None, variables: Mapping[str, Any]) -> None:
    """Raises WrongVariables, also for undeclared variables unless the schema allows them."""
    if schema is None:
        return
    strict = Draft202012Validator({"type": "object", "additionalProperties": False, **schema})
    if problems := find_errors(strict, variables, "variables"):
        raise WrongVariables(summarize_errors(problems), errors=problems)


def get_declared_names(schema: JsonObject) -> set[str] | None:
    """Returns the names of the variables; None when others are allowed too."""
    return None if schema.get("additionalProperties") else set(schema.get("properties", {}))


def find_errors(validator: Draft202012Validator, value: Any, name: str) -> list[dict[str, str]]:
    found = islice(validator.iter_errors(value), MAX_ERRORS)
    return [
        {
            "field": ".".join([name, *map(str, error.absolute_path)]),
            "message": error.message[:MAX_MESSAGE_CHARACTERS],
        }
        for error in found
    ]


def summarize_errors(problems: list[dict[str, str]]) -> str:
    return "; ".join(f"{problem['field']}: {problem['message']}" for problem in problems[:3])
