"""Bad input for each endpoint: the answer is a 4xx that names the field, never a 500."""

import json
from typing import Any

import pytest

from .conftest import Caller

SOME_ID = "00000000-0000-4000-8000-000000000000"
STEP: dict[str, Any] = {"kind": "ai.summarize", "with": {"text": "'x'"}}
DEFINITION: dict[str, Any] = {"title": "T", "start": "a", "steps": {"a": STEP}}
NAMED = {"name": "bad-input", **DEFINITION}
START = {"definition": "document-review"}
DECISION = {"decision": "approve"}
DEEP: Any = None
for _ in range(30):
    DEEP = [DEEP]
NUL = "a\x00b"
SURROGATE = "\ud800"


def step(**change: Any) -> dict[str, Any]:
    return {"steps": {"a": STEP | change}}


BAD = [
    ("/definitions", NAMED, {"name": None}, "name"),
    ("/definitions", NAMED, {"name": ""}, "name"),
    ("/definitions", NAMED, {"name": "With Space"}, "name"),
    ("/definitions", NAMED, {"name": "a/../b"}, "name"),
    ("/definitions", NAMED, {"name": "a\n"}, "name"),
    ("/definitions", NAMED, {"name": "a" * 101}, "name"),
    ("/definitions", NAMED, {"name": NUL}, "name"),
    ("/definitions", NAMED, {"title": ""}, "title"),
    ("/definitions", NAMED, {"title": SURROGATE}, "title"),
    ("/definitions", NAMED, {"description": NUL}, "description"),
    ("/definitions", NAMED, {"description": "a" * 2001}, "description"),
    ("/definitions", NAMED, {"version": "new"}, "version"),
    ("/definitions", NAMED, {"created_by": 7}, "created_by"),
    ("/definitions", NAMED, {"retired_at": None}, "retired_at"),
    ("/definitions", NAMED, {"start": None}, "start"),
    ("/definitions", NAMED, {"start": NUL}, "start"),
    ("/definitions", NAMED, {"steps": {}}, "steps"),
    ("/definitions", NAMED, {"steps": []}, "steps"),
    ("/definitions", NAMED, {"steps": {"A b": STEP}}, "steps.A b"),
    ("/definitions", NAMED, {"steps": {"a": None}}, "steps.a"),
    ("/definitions", NAMED, {"steps": {f"a{n}": STEP for n in range(101)}}, "steps"),
    ("/definitions", NAMED, step(kind=7), "steps.a.kind"),
    ("/definitions", NAMED, step(kind=NUL), "steps.a.kind"),
    ("/definitions", NAMED, step(next="A"), "steps.a.next"),
    ("/definitions", NAMED, step(then="b"), "steps.a.then"),
    ("/definitions", NAMED, step(**{"with": [1]}), "steps.a.with"),
    ("/definitions", NAMED, step(**{"with": {"text": NUL}}), "steps.a.with"),
    ("/definitions", NAMED, step(**{"with": {"text": DEEP}}), "steps.a.with"),
    ("/definitions", NAMED, step(**{"with": {NUL: "1"}}), "steps.a.with"),
    ("/definitions", NAMED, step(choices={}), "steps.a.choices"),
    ("/definitions", NAMED, step(choices=[{"when": "true"}]), "steps.a.choices.0.next"),
    ("/definitions", NAMED, step(choices=[{"when": "1" * 501, "next": "a"}]), "steps.a.choices.0"),
    ("/definitions", NAMED, {"input": None}, "input"),
    ("/definitions", NAMED, {"input": {"type": "object", "$ref": "#"}}, "input.$ref"),
    ("/definitions", NAMED, {"input": {"type": "object", "minItems": -1}}, "input.minItems"),
    ("/definitions", NAMED, {"input": {"type": "object", "properties": {NUL: {}}}}, "input"),
    ("/definitions", NAMED, {"output": DEEP}, "output"),
    ("/definitions", NAMED, {"output": {"a": NUL}}, "output"),
    ("/definitions/validate", DEFINITION, {"name": "No Name"}, "name"),
    ("/definitions/validate", DEFINITION, {"nmae": "bad-input"}, "nmae"),
    ("/definitions/validate", DEFINITION, {"start": "b"}, "start"),
    ("/workflows", START, {"definition": None}, "definition"),
    ("/workflows", START, {"definition": NUL}, "definition"),
    ("/workflows", START, {"definition": "a" * 101}, "definition"),
    ("/workflows", START, {"input": []}, "input"),
    ("/workflows", START, {"input": {}}, "input"),
    ("/workflows", START, {"input": {"document_id": "x"}}, "input"),
    ("/workflows", START, {"input": {"a": NUL}}, "input"),
    ("/workflows", START, {"input": {"a": SURROGATE}}, "input"),
    ("/workflows", START, {"input": {"a": DEEP}}, "input"),
    ("/workflows", START, {"input": {"a": list(range(10_001))}}, "input"),
    ("/workflows", START, {"started_by": SOME_ID}, "started_by"),
    ("/workflows", START, {"status": "completed"}, "status"),
    (f"/tasks/{SOME_ID}/complete", DECISION, {"decision": None}, "decision"),
    (f"/tasks/{SOME_ID}/complete", DECISION, {"decision": "maybe"}, "decision"),
    (f"/tasks/{SOME_ID}/complete", DECISION, {"comment": None}, "comment"),
    (f"/tasks/{SOME_ID}/complete", DECISION, {"comment": NUL}, "comment"),
    (f"/tasks/{SOME_ID}/complete", DECISION, {"comment": "a" * 5001}, "comment"),
    (f"/tasks/{SOME_ID}/complete", DECISION, {"decided_by": SOME_ID}, "decided_by"),
    ("/ai/summarize", {"text": "a"}, {"text": None}, "body"),
    ("/ai/summarize", {"text": "a"}, {"text": ""}, "text"),
    ("/ai/summarize", {"text": "a"}, {"text": NUL}, "text"),
    ("/ai/summarize", {"text": "a"}, {"text": "a" * 200_001}, "text"),
    ("/ai/summarize", {"text": "a"}, {"document_id": SOME_ID}, "body"),
    ("/ai/summarize", {"text": "a"}, {"document_id": "../x"}, "document_id"),
    ("/ai/summarize", {"text": "a"}, {"model": "big"}, "model"),
]


@pytest.mark.parametrize(("path", "good", "change", "field"), BAD)
def test_bad_input_is_refused_with_the_name_of_the_field(
    starter: Caller, path: str, good: dict[str, Any], change: dict[str, Any], field: str
) -> None:
    body = json.dumps(good | change)

    response = starter.post(path, content=body, headers={"Content-Type": "application/json"})

    assert response.status_code == 422, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert any(error["field"].startswith(field) for error in response.json()["errors"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/workflows/x", 422),
        ("/workflows/%00", 422),
        (f"/workflows/{SOME_ID}", 404),
        ("/workflows?limit=0", 422),
        ("/workflows?limit=101", 422),
        ("/workflows?cursor=x", 422),
        ("/workflows?cursor=WyJcdTAwMDAiXQ", 422),
        (f"/workflows/{SOME_ID}/history?cursor=WyJ4Il0", 404),
        ("/tasks?cursor=WyJcdTAwMDAiLCAieCJd", 422),
        ("/tasks/x", 422),
        (f"/tasks/{SOME_ID}", 404),
        ("/definitions/%00", 422),
        ("/definitions/a%2F..%2Fb", 404),
        ("/definitions/no-such-thing", 404),
        ("/definitions?cursor=%00", 422),
    ],
)
def test_bad_paths_and_queries_are_refused(starter: Caller, path: str, status: int) -> None:
    response = starter.get(path)

    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"


def test_a_forged_history_cursor_is_refused(starter: Caller) -> None:
    run = starter.start(starter.publish({"a": STEP}))

    for cursor in ("WzFlNDAwXQ", "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ", "W251bGxd", "WyJ4Il0"):
        response = starter.get(f"/workflows/{run['id']}/history?cursor={cursor}")

        assert response.status_code == 422, (cursor, response.text)


def test_a_body_above_the_limit_is_413(starter: Caller) -> None:
    response = starter.post("/workflows", json=START | {"input": {"a": "x" * 1_100_000}})

    assert response.status_code == 413


def test_a_deeply_nested_schema_is_refused(starter: Caller) -> None:
    schema = '{"type": "object", "properties": {"a": ' * 500 + "{}" + "}}" * 500
    body = json.dumps(NAMED)[:-1] + f', "input": {schema}}}'

    response = starter.post(
        "/definitions", content=body, headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 422, response.text
