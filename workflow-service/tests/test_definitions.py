"""Publishing definitions, and what is said about those that cannot work."""

from typing import Any

import pytest

from .conftest import Caller

TELL: dict[str, Any] = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}
FORK: dict[str, Any] = {"kind": "branch", "choices": [{"when": "true", "next": "tell"}]}
GOOD: dict[str, Any] = {"title": "Test", "start": "tell", "steps": {"tell": TELL}}


def faults(author: Caller, definition: dict[str, Any]) -> dict[str, str]:
    response = author.post("/definitions/validate", json=definition)
    assert response.status_code == 422, response.text
    return {error["field"]: error["message"] for error in response.json()["errors"]}


def test_document_review_comes_with_the_service_and_is_valid(starter: Caller) -> None:
    found = starter.get("/definitions/document-review").json()

    content = {key: found[key] for key in ("title", "input", "start", "steps", "output")}
    assert (found["version"], found["created_by"]) == (2, None)
    assert starter.post("/definitions/validate", json=content).json() == {"valid": True}
    assert list(found["steps"])[:2] == ["document", "extract"]  # in the order of the file


def test_the_example_in_the_documentation_can_be_published_and_started(starter: Caller) -> None:
    schemas = starter.get("http://testserver/openapi.json").json()["components"]["schemas"]
    (definition,) = schemas["DefinitionCreate"]["examples"]
    (start,) = schemas["WorkflowStart"]["examples"]

    assert starter.post("/definitions", json=definition).status_code == 201
    assert starter.post("/workflows", json=start).status_code == 201


def test_a_published_definition_is_read_as_it_was_written(starter: Caller) -> None:
    name = starter.publish({"tell": TELL})

    found = starter.get(f"/definitions/{name}").json()

    assert found["steps"]["tell"]["with"] == TELL["with"]
    assert (found["name"], found["version"]) == (name, 1)
    assert found["created_by"] == starter.user_id
    assert name in [item["name"] for item in starter.get("/definitions").json()["items"]]


def test_a_change_is_a_new_version(starter: Caller) -> None:
    name = starter.publish({"tell": TELL})

    changed = starter.put(f"/definitions/{name}", json={**GOOD, "title": "Changed"})

    current = starter.get(f"/definitions/{name}").json()
    assert changed.json() == current
    assert (current["version"], current["title"]) == (2, "Changed")


def test_every_version_is_kept_and_none_can_be_changed(starter: Caller) -> None:
    name = starter.publish({"tell": TELL})
    versions = f"/definitions/{name}/versions"
    starter.put(f"/definitions/{name}", json={**GOOD, "title": "Changed"})
    first = starter.get(f"{versions}/1").json()

    refused = starter.put(f"{versions}/1", json={**GOOD, "title": "Forged"})

    assert (refused.status_code, refused.json()["code"]) == (409, "VersionIsFinal")
    assert [item["version"] for item in starter.get(versions).json()["items"]] == [2, 1]
    assert starter.get(f"{versions}/1").json() == first
    assert (first["version"], first["title"]) == (1, "Test")
    for path in (f"{versions}/3", "/definitions/unknown/versions"):
        assert starter.get(path).status_code == 404


def test_putting_the_same_again_makes_no_new_version(starter: Caller) -> None:
    name = starter.publish({"tell": TELL})

    same = starter.put(f"/definitions/{name}", json=GOOD)

    assert same.json()["version"] == 1


def test_a_name_is_taken_until_its_definition_is_deleted(starter: Caller) -> None:
    name = starter.publish({"tell": TELL})

    taken = starter.post("/definitions", json={**GOOD, "name": name})
    deleted = starter.delete(f"/definitions/{name}")
    again = starter.post("/definitions", json={**GOOD, "name": name})

    assert (taken.status_code, taken.json()["code"]) == (409, "NameTaken")
    assert deleted.status_code == 204
    assert (again.status_code, again.json()["version"]) == (201, 2)


def test_a_deleted_definition_cannot_be_read_changed_started_or_deleted(starter: Caller) -> None:
    name = starter.publish({"tell": TELL})
    starter.delete(f"/definitions/{name}")

    refused = [
        starter.get(f"/definitions/{name}"),
        starter.put(f"/definitions/{name}", json=GOOD),
        starter.post("/workflows", json={"definition": name}),
        starter.delete(f"/definitions/{name}"),
    ]

    assert [response.status_code for response in refused] == [404] * 4


def test_a_creation_with_a_key_happens_once(starter: Caller) -> None:
    headers, new = {"Idempotency-Key": "once"}, {**GOOD, "name": f"k-{starter.user_id}"}

    first, second = (starter.post("/definitions", json=new, headers=headers) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"start": "nowhere"}, "start", "there is no step nowhere; the steps are: tell"),
        ({"input": {"type": "string"}}, "input.type", "must be object"),
        ({"output": {"a": "steps.nope.b"}}, "output.a", "steps.nope is no step"),
        ({"output": {"a": ["1 +"]}}, "output.a.0", "is not a CEL expression, at character"),
    ],
)
def test_a_fault_is_named_by_its_path(
    starter: Caller, change: dict[str, Any], field: str, message: str
) -> None:
    assert message in faults(starter, GOOD | change)[field]


@pytest.mark.parametrize(
    ("step", "field", "message"),
    [
        ({"kind": "magic"}, "kind", "there is no kind magic; the kinds are: ai.classify"),
        ({"next": "nowhere"}, "next", "there is no step nowhere"),
        ({"otherwise": "nowhere"}, "otherwise", "there is no step nowhere"),
        ({"with": {}}, "with.recipient_id", "is missing"),
        ({"with": TELL["with"] | {"colour": "'red'"}}, "with.colour", "is unknown to"),
        ({"with": TELL["with"] | {"body": "hello"}}, "with.body", "hello is not known"),
        ({"with": TELL["with"] | {"body": "go-home"}}, "with.body", "'...' around a text"),
        ({"with": TELL["with"] | {"body": "shout('a')"}}, "with.body", "no function shout"),
        ({"with": TELL["with"] | {"body": "steps.tell.x"}}, "with.body", "no step that comes"),
        ({"with": {"variables": {"a": {"b": ["x"]}}}}, "with.variables.a.b.0", "x is not known"),
        ({"choices": FORK["choices"]}, "kind", "only the kind branch has choices"),
        ({"kind": "branch", "with": {}}, "choices", "a branch has choices"),
        (FORK | {"choices": [{"when": "x", "next": "tell"}]}, "choices.0.when", "x is not known"),
        (FORK | {"choices": [{"when": "true", "next": "y"}]}, "choices.0.next", "no step y"),
        ({"kind": "wait", "with": {"seconds": -5}}, "with.seconds", "greater than or equal to 0"),
        ({"with": TELL["with"] | {"channels": []}}, "with.channels", "at least 1 item"),
        ({"undo": {"kind": "wait", "with": {"seconds": [1]}}}, "undo.with.seconds", "valid number"),
        ({"sla": {"seconds": 1, "tell": ["ada"]}}, "sla.tell.0", "ada is no user id"),
    ],
)
def test_a_fault_in_a_step_is_named_by_its_path(
    starter: Caller, step: dict[str, Any], field: str, message: str
) -> None:
    found = faults(starter, GOOD | {"steps": {"tell": TELL | step}})

    assert message in found[f"steps.tell.{field}"]


def test_a_cycle_is_shown_as_the_way_round(starter: Caller) -> None:
    steps = {"a": TELL | {"next": "b"}, "b": TELL | {"next": "c"}, "c": TELL | {"next": "a"}}

    (message,) = faults(starter, GOOD | {"start": "a", "steps": steps}).values()

    assert "a -> b -> c -> a" in message or "b -> c -> a -> b" in message or "c -> a" in message


def test_a_step_that_nothing_leads_to_is_named(starter: Caller) -> None:
    found = faults(starter, GOOD | {"steps": {"tell": TELL, "island": TELL}})

    assert found == {
        "steps.island": "no step leads here: name it in another step's next, or remove it"
    }


def test_a_step_sees_the_steps_on_every_way_to_it(starter: Caller) -> None:
    body = {"body": "string(has(steps.left)) + string(has(steps.right))"}
    steps = {
        "fork": FORK | {"choices": [{"when": "true", "next": "left"}], "otherwise": "right"},
        "left": TELL | {"next": "join"},
        "right": TELL | {"next": "join"},
        "join": TELL | {"with": TELL["with"] | body},
    }

    response = starter.post("/definitions/validate", json=GOOD | {"start": "fork", "steps": steps})

    assert response.status_code == 200, response.text


def test_everything_that_is_wrong_is_said_at_once(starter: Caller) -> None:
    steps = {"tell": TELL | {"kind": "magic", "next": "nowhere"}, "b": TELL | {"with": {"x": "1"}}}

    found = faults(starter, GOOD | {"steps": steps})

    assert found.keys() == {
        "steps.tell.kind", "steps.tell.next", "steps.b.with.x", "steps.b.with.recipient_id"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "given", "field"),
    [
        ({"a": {"type": "string"}}, {"a": 1}, "input.a"),
        ({"a": {"type": "string", "format": "uuid"}}, {"a": "x"}, "input.a"),
        ({"a": {"type": "string", "format": "date"}}, {"a": "2026-13-01"}, "input.a"),
        ({"a": {"type": "string", "maxLength": 2}}, {"a": "xyz"}, "input.a"),
        ({"a": {"type": "string", "enum": ["x"]}}, {"a": "y"}, "input.a"),
        ({"a": {"type": "integer", "minimum": 3}}, {"a": 2}, "input.a"),
        ({"a": {"type": "integer"}}, {"a": True}, "input.a"),
        ({"a": {"type": "array", "items": {"type": "boolean"}}}, {"a": [True, 1]}, "input.a.1"),
        ({"a": {"type": "array", "minItems": 1}}, {"a": []}, "input.a"),
        ({"a": {"type": "object", "required": ["b"]}}, {"a": {}}, "input.a"),
        ({"a": {"type": "object"}}, {"b": {}}, "input"),
        ({"a": {"type": "object", "properties": {}}}, {"a": {"b": 1}}, "input.a"),
    ],
)
def test_an_input_that_is_not_as_declared_is_refused_by_its_path(
    starter: Caller, schema: dict[str, Any], given: dict[str, Any], field: str
) -> None:
    name = starter.publish({"tell": TELL}, input={"type": "object", "properties": schema})

    response = starter.post("/workflows", json={"definition": name, "input": given})

    assert (response.status_code, response.json()["code"]) == (422, "InvalidInput")
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://169.254.169.254/"},
        {"$ref": "#"},
        {"type": "string", "pattern": "(a+)+$"},
        {"type": "object", "patternProperties": {"(a+)+$": {"type": "string"}}},
        {"type": "string", "format": "regex"},
        {"type": "sting"},
        {"type": "array", "items": {"type": "object", "properties": {"x": {"$ref": "#"}}}},
    ],
)
def test_a_schema_that_could_do_harm_or_nothing_is_refused(
    starter: Caller, schema: dict[str, Any]
) -> None:
    declared = {"type": "object", "properties": {"a": schema}}

    found = faults(starter, GOOD | {"input": declared})

    assert all(field.startswith("input.properties.a") for field in found)
