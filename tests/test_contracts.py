"""Compares what services declare to use of each other with the providers' OpenAPI documents."""

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tools.localdev.consumer_contracts import EVERY_SERVICE, Use, list_uses
from tools.localdev.services import ROOT, SERVICES

Schema = dict[str, Any]

# (consumer, provider) in the specification's "Service Communication Matrix".
MATRIX = {
    (EVERY_SERVICE, "identity"),
    ("content", "identity"),
    ("communication", "identity"),
    ("workflow", "identity"),
    ("workflow", "content"),
    ("workflow", "communication"),
}
# The client itself, probes of /health/live, and the login on /docs, which only passes it on.
OTHER_CALLERS = {"service_client.py", "contracts.py", "health.py", "docs_page.py"}

every_use = pytest.mark.parametrize("use", list_uses(), ids=str)


@cache
def load_document(service: str) -> Any:
    return importlib.import_module(f"{service}_service.main").app.openapi()


def find_operation(use: Use) -> Any:
    wanted = hide_names(use.call.path)
    for path, operations in load_document(use.call.provider)["paths"].items():
        if hide_names(path) == wanted and use.call.method.lower() in operations:
            return operations[use.call.method.lower()]
    raise AssertionError(f"{use}: {use.call.provider} has no {use.call.method} {use.call.path}")


def hide_names(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def get_schema(described: Schema, use: Use) -> Any:
    """Return the schema of a request or response, without references."""
    ((_, content),) = described["content"].items()
    return expand(content["schema"], load_document(use.call.provider))


def expand(schema: Any, root: Schema) -> Any:
    """Replace references by what they refer to; recursive ones by a schema of anything."""
    if isinstance(schema, list):
        return [expand(each, root) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found: Any = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return {} if schema["$ref"] in str(found) else expand(found, root)
    return {name: expand(value, root) for name, value in schema.items()}


def find_gaps(accepted: Schema, sent: Schema, place: str = "body") -> Iterator[str]:
    """Yield why a value of the schema `sent` may not fit the schema `accepted`."""
    for option in sent.get("anyOf", [sent]):
        gaps = [[*compare(each, option, place)] for each in accepted.get("anyOf", [accepted])]
        yield from min(gaps, key=len)


def compare(accepted: Schema, sent: Schema, place: str) -> Iterator[str]:
    types = (accepted.get("type"), sent.get("type"))
    if types[0] is not None and types[0] != types[1] and types != ("number", "integer"):
        yield f"{place} may be {types[1]}, {types[0]} is expected"
        return
    if "enum" in accepted and not {*sent.get("enum", [object])} <= {*accepted["enum"]}:
        yield f"{place} may be other than {accepted['enum']}"
    if "items" in accepted and "items" in sent:
        yield from find_gaps(accepted["items"], sent["items"], f"{place}[]")
    known = accepted.get("properties", {})
    for name in {*accepted.get("required", [])} - {*sent.get("required", [])}:
        yield f"{place}.{name} may be missing"
    for name, schema in sent.get("properties", {}).items():
        if name in known:
            yield from find_gaps(known[name], schema, f"{place}.{name}")
        elif accepted.get("additionalProperties") is False:
            yield f"{place}.{name} is not known"


@every_use
def test_a_provider_knows_the_operation_and_its_parameters(use: Use) -> None:
    parameters = find_operation(use).get("parameters", [])

    assert {*use.call.query} <= {p["name"] for p in parameters if p["in"] == "query"}


@every_use
def test_a_provider_accepts_what_its_consumer_sends(use: Use) -> None:
    body = find_operation(use).get("requestBody", {})

    if body.get("required") or use.sent_schema != {"type": "null"}:
        sent = expand(use.sent_schema, use.sent_schema)
        assert [*find_gaps(get_schema(body, use), sent)] == []


@every_use
def test_a_provider_sends_what_its_consumer_reads(use: Use) -> None:
    responses = find_operation(use)["responses"]
    success = next(response for status, response in responses.items() if status < "300")

    if read := expand(use.read_schema, use.read_schema):
        assert [*find_gaps(read, get_schema(success, use))] == []


def test_every_edge_of_the_matrix_has_a_contract() -> None:
    assert {(use.consumer, use.call.provider) for use in list_uses()} >= MATRIX


def test_services_call_their_neighbours_only_as_declared() -> None:
    folders = [ROOT / "chassis", *(service.folder / service.package for service in SERVICES)]
    found = [
        str(file.relative_to(ROOT))
        for folder in folders
        for file in folder.rglob("*.py")
        if "tests" not in file.parts and file.name not in OTHER_CALLERS
        if re.search(r"\.(make_request|call_from_thread)\(", file.read_text())
    ]

    assert found == [], "declare the call in the contracts.py of the service"


def build_schema(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": [*properties]}


TEXT = {"type": "string"}
OPTIONAL_TEXT = {"anyOf": [TEXT, {"type": "null"}]}
LEVEL = {"type": "string", "enum": ["read", "write"]}


@pytest.mark.parametrize(
    ("accepted", "sent", "gaps"),
    [
        (build_schema(a=TEXT), build_schema(a=TEXT, b=TEXT), []),
        (build_schema(a=OPTIONAL_TEXT), build_schema(a=TEXT), []),
        (build_schema(a=TEXT), build_schema(a=LEVEL), []),
        (build_schema(a=TEXT), build_schema(b=TEXT), ["body.a may be missing"]),
        (
            build_schema(a=TEXT),
            build_schema(a=OPTIONAL_TEXT),
            ["body.a may be null, string is expected"],
        ),
        (
            {"type": "array", "items": build_schema(a=TEXT)},
            {"type": "array", "items": build_schema(a={"type": "integer"})},
            ["body[].a may be integer, string is expected"],
        ),
        (build_schema(a=LEVEL), build_schema(a=TEXT), ["body.a may be other than"]),
        (
            {**build_schema(a=TEXT), "additionalProperties": False},
            build_schema(a=TEXT, b=TEXT),
            ["body.b is not known"],
        ),
    ],
)
def test_a_difference_is_named(accepted: Schema, sent: Schema, gaps: list[str]) -> None:
    found = [*find_gaps(accepted, sent)]

    assert len(found) == len(gaps)
    assert all(gap in place for gap, place in zip(gaps, found, strict=True))
