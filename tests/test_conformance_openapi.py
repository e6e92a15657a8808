"""Tests how the conformance kit reads OpenAPI documents, also of services that are not ours."""

from typing import Any

import httpx
import pytest

from tools.conformance.openapi import Operation

JSON = "application/json"
PROBLEM = "application/problem+json"
NOTE = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}


def describe(schema: Any, media_type: str = JSON) -> dict[str, Any]:
    return {"description": "", "content": {media_type: {"schema": schema}}}


def find_mismatch(
    responses: dict[str, Any],
    status: int,
    body: str = "",
    media_type: str = JSON,
    version: str = "3.1.0",
) -> str | None:
    document = {
        "openapi": version,
        "paths": {"/notes": {"get": {"responses": responses}}},
        "components": {
            "schemas": {"Note": NOTE},
            "responses": {"Gone": describe({"$ref": "#/components/schemas/Note"}, PROBLEM)},
        },
    }
    response = httpx.Response(status, text=body, headers={"Content-Type": media_type})
    return Operation(document, "GET", "/notes").find_mismatch(response)


@pytest.mark.parametrize("key", ["404", "4XX", "default"])
def test_a_status_is_documented_alone_by_its_range_or_among_all_others(key: str) -> None:
    responses = {"200": describe({}), key: describe(NOTE)}

    assert find_mismatch(responses, 404, '{"text": "Gone"}') is None
    assert find_mismatch(responses, 404, "{}") == "$: 'text' is a required property"


def test_another_status_is_named_with_those_that_are_documented() -> None:
    assert find_mismatch({"200": {}, "404": {}}, 410) == "documented are 200, 404"


def test_another_content_type_is_named_with_those_that_are_documented() -> None:
    found = find_mismatch({"404": describe(NOTE, PROBLEM)}, 404, "{}", "text/html; charset=utf-8")

    assert found == f"text/html; documented are {PROBLEM}"


@pytest.mark.parametrize("documented", ["application/*", "*/*", f"{PROBLEM}; charset=utf-8"])
def test_a_range_of_content_types_is_understood(documented: str) -> None:
    assert find_mismatch({"404": describe(NOTE, documented)}, 404, '{"text": ""}', PROBLEM) is None


def test_a_response_may_be_a_reference() -> None:
    responses = {"410": {"$ref": "#/components/responses/Gone"}}

    assert find_mismatch(responses, 410, '{"text": ""}', PROBLEM) is None
    assert find_mismatch(responses, 410, "{}", PROBLEM) == "$: 'text' is a required property"


def test_a_body_needs_a_description() -> None:
    assert find_mismatch({"204": {"description": "Done"}}, 204) is None
    found = find_mismatch({"204": {"description": "Done"}}, 204, "{}")
    assert found == "a body, but none is documented"


@pytest.mark.parametrize(
    ("version", "schema"),
    [
        ("3.0.3", {"type": "string", "nullable": True}),
        ("3.1.0", {"type": ["string", "null"]}),
    ],
)
def test_null_is_written_in_the_way_of_each_version(version: str, schema: Any) -> None:
    assert find_mismatch({"200": describe(schema)}, 200, "null", version=version) is None
    assert find_mismatch({"200": describe(schema)}, 200, "1", version=version)
