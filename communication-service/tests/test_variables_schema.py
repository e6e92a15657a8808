"""The variables that a template declares, and how they are checked."""

from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest

from .conftest import Caller

SCHEMA = {
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "items": {"type": "array", "items": {"type": "object", "required": ["price"]}},
    },
    "required": ["name"],
}
BODY = "Hi {{ name }}{% for item in items|default([]) %}, {{ item.price }}{% endfor %}"


@pytest.mark.parametrize(
    ("variables", "field", "message"),
    [
        ({}, "variables", "'name' is a required property"),
        ({"name": 7}, "variables.name", "7 is not of type 'string'"),
        ({"name": ""}, "variables.name", "'' should be non-empty"),
        ({"name": "Rita", "nmae": "x"}, "variables", "('nmae' was unexpected)"),
        ({"name": "Rita", "items": [{}]}, "variables.items.0", "'price' is a required property"),
    ],
)
def test_variables_that_are_not_as_declared_are_refused_by_name(
    editor: Caller, recipient: Caller, variables: dict[str, Any], field: str, message: str
) -> None:
    template = editor.template(body=BODY, variables_schema=SCHEMA)
    new = {"recipient_id": recipient.user_id, "template": template["name"], "variables": variables}
    unsaved = {"subject": "Hi", "body": BODY, "variables_schema": SCHEMA, "variables": variables}

    for response in (
        editor.post("/notifications", json=new),
        editor.post(f"/templates/{template['id']}/render", json={"variables": variables}),
        editor.post("/templates/preview", json=unsaved),
    ):
        assert response.status_code == 422
        (error,) = response.json()["errors"]
        assert error["field"] == field
        assert message in error["message"]
        assert response.json()["detail"] == f"{field}: {error['message']}"


def test_variables_that_are_as_declared_are_taken(editor: Caller, recipient: Caller) -> None:
    template = editor.template(body=BODY, variables_schema=SCHEMA)
    variables = {"name": "Rita", "items": [{"price": 3}, {"price": 4}]}
    named = {"template": template["name"], "variables": variables}

    accepted = editor.notify(recipient, subject=None, body=None, **named)

    assert accepted["body"] == "Hi Rita, 3, 4"
    assert editor.get(f"/templates/{template['id']}").json()["variables_schema"] == SCHEMA


def test_each_version_keeps_its_own_declaration(editor: Caller, recipient: Caller) -> None:
    template = editor.template(body=BODY, variables_schema=SCHEMA)
    path = f"/templates/{template['id']}"
    schema = {"properties": {"title": {"type": "string"}}, "required": ["title"]}
    change = {"subject": "Hi", "body": "{{ title }}", "variables_schema": schema}
    assert editor.put(path, json=change).json()["version"] == 2

    new = {"recipient_id": recipient.user_id, "template": template["name"]}

    old, now = ({**new, "variables": variables} for variables in ({"name": "x"}, {"title": "x"}))
    assert editor.post("/notifications", json=old).status_code == 422
    assert editor.post("/notifications", json=now).status_code == 202
    first = editor.get(path, params={"version": 1}).json()
    assert first["variables_schema"] == SCHEMA


def test_a_template_uses_what_it_declares_unless_others_are_allowed(editor: Caller) -> None:
    new = {"subject": "Hi", "body": "{{ title }}", "variables_schema": SCHEMA}

    refused = editor.post("/templates/preview", json=new)
    allowed = editor.post(
        "/templates/preview",
        json=new
        | {"variables_schema": SCHEMA | {"additionalProperties": True}}
        | {"variables": {"name": "Rita", "title": "Mills"}},
    )

    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"field": "body", "message": "uses undeclared variables: title"}
    ]
    assert allowed.json()["body"] == "Mills"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strnig"},
        {"properties": {"a": {"minLength": -1}}},
        {"properties": {"a": {"pattern": "(a+)+$"}}},
        {"properties": {"a": {"$ref": "http://127.0.0.1:9/secret.json"}}},
        {"properties": {"a": {"$ref": "#"}}},
        {"allOf": [{}]},
        {"properties": {"a": {"const": "x" * 10_001}}},
        {"required": "name"},
    ],
)
def test_a_schema_that_is_none_or_could_run_away_is_refused(
    editor: Caller, schema: dict[str, Any]
) -> None:
    new = {"subject": "Hi", "body": "Hi", "variables_schema": schema}

    response = editor.post("/templates/preview", json=new)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith("variables_schema")


def test_the_largest_of_schemas_and_of_variables_take_little_time(editor: Caller) -> None:
    inner = {"properties": {f"p{n}": {"type": "string", "maxLength": 9} for n in range(200)}}
    schema = {"properties": {"many": {"items": inner}}}
    variables = {"many": [{f"p{n}": "x" for n in range(50)} for _ in range(98)]}
    began = monotonic()

    new = {"subject": "Hi", "body": "Hi", "variables_schema": schema, "variables": variables}
    response = editor.post("/templates/preview", json=new)

    assert response.status_code == 200, response.text
    assert monotonic() - began < 5


def test_in_bulk_wrong_variables_of_one_delay_no_one(
    editor: Caller, login: Callable[..., Caller]
) -> None:
    template = editor.template(body=BODY, variables_schema=SCHEMA)
    people = [login() for _ in range(3)]
    recipients = [
        {"recipient_id": person.user_id, "variables": {"name": name}}
        for person, name in zip(people, ("x", 7, "y"), strict=True)
    ]

    answer = editor.post(
        "/notifications/bulk", json={"template": template["name"], "recipients": recipients}
    ).json()

    statuses = [item["status"] for item in answer["items"]]
    assert statuses == ["accepted", "refused", "accepted"]
    assert answer["items"][1]["error"] == "variables.name: 7 is not of type 'string'"
