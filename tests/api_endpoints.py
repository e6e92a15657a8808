"""Reads the endpoints from the OpenAPI documents, and builds requests that they accept."""

import importlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import pytest

from tools.localdev.services import SERVICES, Service

Schema = Mapping[str, Any]

JSON_TYPE = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
BOUNDARY = "boundary"


@dataclass(frozen=True)
class Endpoint:
    """Represents an operation of an OpenAPI document; `ids` are existing path parameters."""

    document: Schema = field(repr=False)
    method: str
    path: str
    ids: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def operation(self) -> Schema:
        operations = self.document["paths"][self.path]
        found: Schema = inline_references(self.document, operations[self.method.lower()])
        return found

    @property
    def is_protected(self) -> bool:
        return bool(self.operation["security"]) and {} not in self.operation["security"]

    @property
    def parameters(self) -> list[Schema]:
        return list(self.operation.get("parameters", []))

    @property
    def body(self) -> tuple[str, Schema] | None:
        """Return the content type of the body and its schema."""
        contents = self.operation.get("requestBody", {}).get("content", {})
        return next(((kind, content["schema"]) for kind, content in contents.items()), None)

    def build_url(self, **changed: str) -> str:
        """Build the URL with existing or random ids and the required query parameters.

        `changed` replaces values; a parameter that the operation does not have is left out.
        """
        values = {p["name"]: self.ids.get(p["name"], build_example(p["schema"]))
                  for p in self.parameters if p["in"] == "path"}  # fmt: skip
        query = {p["name"]: build_example(p["schema"])
                 for p in self.parameters if p["in"] == "query" and p.get("required")}  # fmt: skip
        optional = {p["name"] for p in self.parameters if p["in"] == "query"}
        query |= {name: value for name, value in changed.items() if name in optional}
        values |= {name: value for name, value in changed.items() if name in values}
        path = self.path.format(**{name: url_encode(value) for name, value in values.items()})
        return f"{path}?" + "&".join(f"{name}={url_encode(value)}" for name, value in query.items())


def inline_references(document: Schema, part: Any, within: frozenset[str] = frozenset()) -> Any:
    """Replace references by the schemas they name; a recursive one becomes {}."""
    if isinstance(part, list):
        return [inline_references(document, item, within) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" not in part:
        return {key: inline_references(document, value, within) for key, value in part.items()}
    name = part["$ref"].rpartition("/")[2]
    if name in within:
        return {}
    return inline_references(document, document["components"]["schemas"][name], within | {name})


def url_encode(text: Any) -> str:
    return quote(str(text).encode("utf-8", "surrogatepass"), safe="")


def list_endpoints(document: Schema) -> list[Endpoint]:
    return [
        Endpoint(document, method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
    ]


def build_good_body(endpoint: Endpoint) -> tuple[dict[str, str], bytes | None]:
    if endpoint.body is None:
        return {}, None
    content_type, schema = endpoint.body
    value = build_example(schema)
    if content_type == JSON_TYPE:
        return {"Content-Type": JSON_TYPE}, json.dumps(value).encode()
    return encode_form(content_type, value.items())


def without_null(schema: Schema) -> Schema:
    """Return the schema of an optional value, or {} when there are several."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if not options:
        return schema
    return options[0] if len(options) == 1 else {}


def may_be_null(schema: Schema) -> bool:
    return any(option.get("type") == "null" for option in schema.get("anyOf", []))


def build_example(schema: Schema) -> Any:
    """Build a value that the schema allows."""
    schema = without_null(schema)
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "object":
        return build_example_object(schema)
    if schema.get("type") == "array":
        return [build_example(schema["items"])] * schema.get("minItems", 0)
    simple: dict[Any, Any] = {"integer": schema.get("minimum", 1), "number": 1.5, "boolean": True}
    return simple.get(schema.get("type"), build_example_text(schema))


def build_example_object(schema: Schema) -> Any:
    if "properties" in schema:
        fields = schema["properties"]
        return {name: build_example(fields[name]) for name in schema.get("required", [])}
    return (
        {"a": build_example(schema["additionalProperties"])} if schema.get("minProperties") else {}
    )


def build_example_text(schema: Schema) -> str:
    formats = {
        "uuid": str(uuid4()),
        "date-time": "2026-01-02T03:04:05Z",
        "email": "someone@example.com",
    }
    text = formats.get(schema.get("format", ""))
    return text or "x" * max(8, int(schema.get("minLength", 0)))


def is_file(schema: Schema) -> bool:
    return "contentMediaType" in schema or schema.get("format") == "binary"


def encode_form(
    content_type: str, pairs: Iterable[tuple[str, Any]]
) -> tuple[dict[str, str], bytes]:
    """Encode a form; a field named `file` is sent as a text file."""
    if content_type == FORM:
        return {"Content-Type": FORM}, urlencode(list(pairs)).encode()
    parts = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        + ('; filename="a.txt"\r\nContent-Type: text/plain' if name == "file" else "")
        + f"\r\n\r\n{value}\r\n"
        for name, value in pairs
    )
    return {
        "Content-Type": f"{MULTIPART}; boundary={BOUNDARY}"
    }, f"{parts}--{BOUNDARY}--\r\n".encode()


ENDPOINTS = [
    (service, endpoint)
    for service in SERVICES
    for endpoint in list_endpoints(importlib.import_module(f"{service.package}.main").app.openapi())
    if not endpoint.path.startswith("/health")
]


def for_each(pairs: list[tuple[Service, Endpoint]]) -> pytest.MarkDecorator:
    names = [f"{service.short} {endpoint.method} {endpoint.path}" for service, endpoint in pairs]
    return pytest.mark.parametrize(("service", "endpoint"), pairs, ids=names)
