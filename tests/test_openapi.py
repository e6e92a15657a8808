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


def test_every_request_body_has_an_example(document: Document) -> None:
    without = [name for name, schema in list_request_bodies(document) if "examples" not in schema]

    assert without == []


def test_examples_of_request_bodies_are_valid(document: Document) -> None:
    for name, schema in list_request_bodies(document):
        validator = Draft202012Validator({**schema, "components": document["components"]})
        for example in schema.get("examples", []):
            assert [(name, error.message) for error in validator.iter_errors(example)] == []


def test_every_operation_has_one_tag_that_is_described(document: Document) -> None:
    tags = [operation["tags"] for path in document["paths"].values() for operation in path.values()]
    described = {tag["name"] for tag in document["tags"] if tag["description"]}

    assert {len(names) for names in tags} == {1}
    assert {name for names in tags for name in names} == described
    assert document["info"]["description"]


def test_no_schema_is_named_after_a_module_or_twice(document: Document) -> None:
    names = document["components"]["schemas"]

    assert [n for n in names if "__" in n or n.endswith(("-Input", "-Output"))] == []


def list_request_bodies(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield the name of each operation that takes a body, and the body's schema."""
    for path in document["paths"].values():
        for operation in path.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                yield operation["operationId"], resolve(document, content["schema"])


def resolve(document: Document, schema: Document) -> Document:
    name = schema.get("$ref", "").removeprefix("#/components/schemas/")
    found: Document = document["components"]["schemas"][name] if name else schema
    return found


def test_an_operation_that_needs_a_permission_needs_a_login(document: Document) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            refusal = operation["responses"].get("403", {}).get("description", "")
            assert operation["security"] or "`Forbidden`" not in refusal


def test_every_tag_is_described(document: Document) -> None:
    used = {tag for path in document["paths"].values() for o in path.values() for tag in o["tags"]}

    assert used == {tag["name"] for tag in document["tags"] if tag["description"]}
