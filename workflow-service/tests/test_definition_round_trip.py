"""What GET returns can be sent back, and the examples in the documentation pass as written."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from workflow_service.main import app

from .conftest import Caller
from .steps import TELL

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *ROOT.glob("*-service/README.md"), *ROOT.glob("docs/**/*.md")]
DEFINITIONS = [
    (f"{document.relative_to(ROOT)}-{number}", example)
    for document in DOCUMENTS
    for number, example in enumerate(
        re.findall(r"^```json\n(.+?)^```", document.read_text(), re.M | re.S)
    )
    if '"steps"' in example
]
RETRIED: dict[str, Any] = {**TELL, "retry": {"attempts": 3}, "sla": {"seconds": 60}}


@pytest.fixture
def published(starter: Caller) -> dict[str, Any]:
    """Publishes a definition, and returns what GET says of it."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    name = starter.publish({"one": {**RETRIED, "next": "two"}, "two": TELL}, input=schema)
    return dict(starter.get(f"/definitions/{name}").json())


def test_each_schema_of_the_api_has_one_form_and_one_plain_name() -> None:
    names = app.openapi()["components"]["schemas"]

    assert "InputSchema" in names
    assert [name for name in names if "-" in name or "__" in name] == []


def test_a_definition_as_it_was_read_is_valid(starter: Caller, published: dict[str, Any]) -> None:
    response = starter.post("/definitions/validate", json=published)

    assert response.json() == {"valid": True}


def test_putting_a_definition_as_it_was_read_changes_nothing(
    starter: Caller, published: dict[str, Any]
) -> None:
    same = starter.put(f"/definitions/{published['name']}", json=published)

    assert same.json() == published


def test_a_definition_that_was_read_and_changed_is_the_next_version(
    starter: Caller, published: dict[str, Any]
) -> None:
    changed = starter.put(
        f"/definitions/{published['name']}", json={**published, "title": "Changed"}
    ).json()

    about = {key: changed[key] for key in ("title", "version", "created_at")}
    assert changed == {**published, **about}
    assert (changed["title"], changed["version"]) == ("Changed", 2)
    assert changed["created_at"] > published["created_at"]


def test_what_the_service_sets_is_ignored_in_a_request(
    starter: Caller, stranger: Caller, published: dict[str, Any]
) -> None:
    forged = {"version": 7, "created_by": "someone", "created_at": "2020-01-01T00:00:00Z"}

    copied = stranger.post(
        "/definitions", json={**published, **forged, "name": f"copy-of-{published['name']}"[:100]}
    ).json()

    assert (copied["version"], copied["created_by"]) == (1, stranger.user_id)
    assert copied["created_at"] > published["created_at"]
    assert copied["steps"] == published["steps"]


def test_a_step_without_a_retry_of_its_own_still_has_none_when_it_was_sent_back(
    starter: Caller, published: dict[str, Any]
) -> None:
    changed = starter.put(
        f"/definitions/{published['name']}", json={**published, "title": "Changed"}
    ).json()

    for found in (published, changed):
        assert found["steps"]["one"]["retry"]["attempts"] == 3
        assert found["steps"]["two"]["retry"] is None


def test_the_name_in_the_body_must_be_that_in_the_path(
    starter: Caller, published: dict[str, Any]
) -> None:
    refused = starter.put(f"/definitions/{published['name']}", json={**published, "name": "other"})

    (error,) = refused.json()["errors"]
    assert refused.status_code == 422
    assert error["field"] == "name"
    assert f"must be {published['name']}" in error["message"]


def test_an_unknown_field_is_refused_in_every_request(
    starter: Caller, published: dict[str, Any]
) -> None:
    body = {**published, "retired_at": None}
    path = f"/definitions/{published['name']}"

    refused = [
        starter.post("/definitions", json=body),
        starter.put(path, json=body),
        starter.post("/definitions/validate", json=body),
    ]

    for response in refused:
        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == ["retired_at"]


def test_the_documentation_has_definitions() -> None:
    assert "workflow-service/README.md-0" in dict(DEFINITIONS)


@pytest.mark.parametrize("example", [pytest.param(e, id=name) for name, e in DEFINITIONS])
def test_a_definition_in_the_documentation_passes_as_written(starter: Caller, example: str) -> None:
    checked = starter.post("/definitions/validate", json=json.loads(example))
    published = starter.post("/definitions", json=json.loads(example))

    assert checked.json() == {"valid": True}
    assert published.status_code == 201, published.text
