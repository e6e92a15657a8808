"""The endpoints of /ai and the ai steps of runs, answered offline."""

from collections.abc import Callable

import pytest

from ..conftest import Caller, Work
from ..fakes import PROSE, Platform

FREE = {"input_tokens": 0, "output_tokens": 0, "cost_usd": 0}


@pytest.fixture
def document(starter: Caller, platform: Platform) -> str:
    return platform.content.add(starter.user_id)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("summarize", {"summary"}),
        ("suggest", {"title", "tags"}),
        ("analyze", {"topics", "key_points", "figures", "questions"}),
    ],
)
def test_a_text_and_a_readable_document_give_the_same_answer(
    starter: Caller, document: str, path: str, fields: set[str]
) -> None:
    of_text = starter.post(f"/ai/{path}", json={"text": PROSE})
    of_document = starter.post(f"/ai/{path}", json={"document_id": document})

    answer = of_text.json()
    assert of_text.status_code == 200
    assert of_document.json() == answer
    assert set(answer) == {*fields, "provider", "model", "usage"}
    assert (answer["provider"], answer["usage"]) == ("offline", FREE)
    assert "mill" in of_text.text


@pytest.mark.parametrize("path", ["summarize", "suggest", "analyze"])
def test_a_document_that_the_caller_may_not_read_is_404(
    stranger: Caller, document: str, path: str
) -> None:
    response = stranger.post(f"/ai/{path}", json={"document_id": document})

    assert response.status_code == 404
    assert "mill" not in response.text


def test_the_permission_to_use_models_is_needed(login: Callable[..., Caller]) -> None:
    response = login("workflows:start").post("/ai/suggest", json={"text": PROSE})

    assert response.status_code == 403
    assert "ai:use" in response.json()["detail"]


def test_a_blank_text_is_refused(starter: Caller) -> None:
    response = starter.post("/ai/suggest", json={"text": " \n "})

    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "text", "message": "must not be blank"}]


def test_a_run_classifies_and_extracts(starter: Caller, work: Work) -> None:
    text = "input.text"
    schema = "{'type': 'object', 'properties': {'total': {'type': 'number'}}}"
    steps = {
        "sort": {"kind": "ai.classify", "with": {"text": text, "labels": "['Bill', 'Letter']"},
                 "next": "read"},
        "read": {"kind": "ai.extract", "with": {"text": text, "into": schema}},
    }  # fmt: skip
    output = {"label": "steps.sort.label", "total": "steps.read.total"}
    declared = {"type": "object", "properties": {"text": {"type": "string"}}}
    name = starter.publish(steps, output=output, input=declared)

    run = starter.start(name, text="A bill of the mill. The total is 12.50 euros.")
    work()

    assert starter.run(run)["output"] == {"label": "Bill", "total": 12.5}


def test_an_extraction_without_a_required_field_fails_the_run(starter: Caller, work: Work) -> None:
    schema = (
        "{'type': 'object', 'properties': {'total': {'type': 'number'}}, 'required': ['total']}"
    )
    steps = {"read": {"kind": "ai.extract", "with": {"text": "'No bill.'", "into": schema}}}

    run = starter.start(starter.publish(steps))
    work()

    assert "'total' is a required property" in starter.run(run)["error"]
