"""Tests what the OpenAPI document of every service shows to the people who read it."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

Document = dict[str, Any]


@pytest.fixture
def document(app: FastAPI) -> Document:
    return app.openapi()


def test_examples_of_request_bodies_are_valid(document: Document) -> None:
    for name, schema in list_request_bodies(document):
        validator = Draft202012Validator({**schema, "components": document["components"]})
        for example in schema.get("examples", []):
            assert [(name, error.message) for error in validator.iter_errors(example)] == []


def list_request_bodies(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield the name of each operation that takes JSON, and the schema of its body."""
    for path in document["paths"].values():
        for operation in path.values():
            content = operation.get("requestBody", {}).get("content", {})
            if schema := content.get("application/json", {}).get("schema"):
                yield operation["operationId"], resolve(document, schema)


def resolve(document: Document, schema: Document) -> Document:
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    found: Document = document["components"]["schemas"][name] if name else schema
    return found
