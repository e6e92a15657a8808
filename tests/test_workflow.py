"""Tests the engine on the whole platform: every step type, compensation, and actions on runs."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from workflow_service.steps import STEP_TYPES

from .document_reviews import LEASE_TIMEOUT_SECONDS
from .users import (
    Person,
    Stack,
    approve,
    eventually,
    log_in,
    register,
    upload_document,
    wait_for_run,
    wait_for_task,
)

DOCUMENT = {"document_id": "input.document_id"}
INPUT = {
    "type": "object",
    "properties": {
        "document_id": {"type": "string", "format": "uuid"},
        "reviewer_id": {"type": "string", "format": "uuid"},
    },
}
ASK: dict[str, Any] = {
    "kind": "approval",
    "with": {"assignee_id": "input.reviewer_id", "title": "'May we?'"},
}
OUTSIDE = {"http"}  # needs a server outside of the platform


def set_values(**values: Any) -> dict[str, Any]:
    return {"kind": "set", "with": {"values": values}}


def notify(subject: str, **more: Any) -> dict[str, Any]:
    about = {"recipient_id": "run.started_by", "subject": f"'{subject}'", "body": "'Hello'"}
    return {"kind": "communication.notify", "with": about, **more}


EVERYTHING: dict[str, Any] = {
    "fetch": {"kind": "content.fetch", "with": DOCUMENT, "next": "extract"},
    "extract": {"kind": "content.process", "with": DOCUMENT, "next": "share"},
    "share": {
        "kind": "content.share",
        "with": {**DOCUMENT, "user_id": "input.reviewer_id"},
        "next": "summarize",
    },
    "summarize": {"kind": "ai.summarize", "with": DOCUMENT, "next": "classify"},
    "classify": {
        "kind": "ai.classify",
        "with": {**DOCUMENT, "labels": ["'water'", "'fire'"]},
        "next": "find",
    },
    "find": {
        "kind": "ai.extract",
        "with": {**DOCUMENT, "into": "{'type': 'object', 'properties': {'a': {'type': 'string'}}}"},
        "next": "say",
    },
    "say": notify("Half way", next="nap"),
    "nap": {"kind": "wait", "with": {"seconds": 1}, "next": "both"},
    "both": {"kind": "parallel", "branches": {"left": "l", "right": "r"}, "next": "each"},
    "l": set_values(n="1"),
    "r": set_values(n="2"),
    "each": {"kind": "foreach", "with": {"items": "[3, 4]"}, "do": "one", "next": "child"},
    "one": set_values(n="item"),
    "ask": {**ASK, "with": {**ASK["with"], **DOCUMENT}, "next": "fork"},
    "fork": {
        "kind": "branch",
        "choices": [{"when": "steps.ask.decision == 'approve'", "next": "last"}],
    },
    "last": set_values(n="steps.both.left.n + steps.both.right.n + steps.each.items[1].n"),
}


def publish(stack: Stack, steps: dict[str, Any], **more: Any) -> str:
    """Publish a definition that starts with the first step, and return its name."""
    name = f"d-{uuid4().hex}"
    new = {"name": name, "title": "A test", "input": INPUT, "start": next(iter(steps)), **more}
    admin = log_in(stack, "admin@example.com")
    admin.post("workflow", "/definitions", json={**new, "steps": steps})
    return name


def start_run(author: Person, definition: str, **given: str) -> Any:
    return author.post("workflow", "/workflows", json={"definition": definition, "input": given})


def move_run(author: Person, run: Any, verb: str, **body: Any) -> Any:
    return author.post("workflow", f"/workflows/{run['id']}/{verb}", json=body or None)


def get_statuses(author: Person, run: Any) -> dict[str, str]:
    steps = author.get("workflow", f"/workflows/{run['id']}")["steps"]
    return {step["path"]: step["status"] for step in steps}


@dataclass
class Tour:
    """Holds one run with every step type."""

    author: Person
    reviewer: Person
    document: Any
    run: Any


@pytest.fixture(scope="module")
def tour(stack: Stack) -> Tour:
    author = register(stack)
    reviewer = register(stack)
    document = upload_document(author)
    child = publish(stack, {"say": notify("In the child")}, output={"n": "5"})
    call = {"kind": "workflow", "with": {"definition": f"'{child}'"}, "next": "ask"}
    output = {"n": "steps.last.n + steps.child.output.n"}
    name = publish(stack, {**EVERYTHING, "child": call}, output=output)
    run = start_run(author, name, document_id=document["id"], reviewer_id=reviewer.user_id)
    approve(reviewer, wait_for_task(reviewer, run, LEASE_TIMEOUT_SECONDS))
    return Tour(author, reviewer, document, wait_for_run(author, run, LEASE_TIMEOUT_SECONDS))


def test_a_run_of_every_kind_completes(tour: Tour) -> None:
    assert tour.run["status"] == "completed", tour.run["error"]
    assert tour.run["output"] == {"n": 12}
    assert {step["kind"] for step in tour.run["steps"]} == STEP_TYPES.keys() - OUTSIDE
    assert {step["status"] for step in tour.run["steps"]} == {"done"}


def test_its_stream_is_its_history_to_the_end(tour: Tour) -> None:
    path = f"/workflows/{tour.run['id']}"
    history = tour.author.get("workflow", f"{path}/history", params={"limit": 100})["items"]

    stream = tour.author.request("GET", "workflow", f"{path}/stream").text

    told = [line.removeprefix("event: ") for line in stream.splitlines() if "event: " in line]
    assert told[: len(history)] == [event["type"] for event in history]
    assert told[-1] == "end"


def test_its_graph_shows_every_step_as_done(tour: Tour) -> None:
    path = f"/workflows/{tour.run['id']}/graph"

    mermaid = tour.author.request("GET", "workflow", path).text
    picture = tour.author.request("GET", "workflow", path, params={"format": "svg"}).content

    groups = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}g")
    assert {group.get("class") for group in groups} == {"done"}
    assert all(f"class s_{name} done" in mermaid for name in EVERYTHING)


def test_those_who_may_read_a_document_may_have_it_summarized(stack: Stack, tour: Tour) -> None:
    about = {"json": {"document_id": tour.document["id"]}}

    people = (tour.author, tour.reviewer, register(stack))
    answers = [person.request("POST", "workflow", "/ai/summarize", **about) for person in people]

    assert [answer.status_code for answer in answers] == [200, 200, 404]
    assert answers[0].json()["provider"] == "offline"


def test_what_was_done_is_undone_newest_first(stack: Stack) -> None:
    author = register(stack)
    undo = {key: notify("Undone")[key] for key in ("kind", "with")}
    steps = {
        "one": notify("One", undo=undo, next="two"),
        "two": notify("Two", undo=undo, next="three"),
        "three": {"kind": "content.fetch", "with": DOCUMENT},
    }
    name = publish(stack, steps, on_failure="compensate")

    run = wait_for_run(
        author, start_run(author, name, document_id=str(uuid4())), LEASE_TIMEOUT_SECONDS
    )

    assert run["status"] == "failed"
    assert [(step["role"], step["path"], step["status"]) for step in run["steps"]] == [
        ("work", "one", "done"), ("work", "two", "done"), ("work", "three", "failed"),
        ("compensation", "two", "done"), ("compensation", "one", "done"),
    ]  # fmt: skip


def test_a_retry_goes_on_where_its_run_failed_and_says_whose_it_is(stack: Stack) -> None:
    author = register(stack)
    owner = register(stack)
    document = upload_document(owner)
    fetch = {"kind": "content.fetch", "with": DOCUMENT}
    name = publish(stack, {"say": notify("Once", next="fetch"), "fetch": fetch})
    run = wait_for_run(
        author, start_run(author, name, document_id=document["id"]), LEASE_TIMEOUT_SECONDS
    )
    assert get_statuses(author, run) == {"say": "done", "fetch": "failed"}
    path = f"/documents/{document['id']}/permissions/{author.user_id}"
    assert owner.request("PUT", "content", path, json={"level": "read"}).is_success

    again = move_run(author, run, "retry", version="pinned")

    assert wait_for_run(author, again, LEASE_TIMEOUT_SECONDS)["status"] == "completed"
    assert again["retry_of"] == run["id"]
    assert len(author.get("communication", "/notifications")["items"]) == 1


def test_a_paused_run_begins_nothing_until_it_is_resumed(stack: Stack) -> None:
    author = register(stack)
    reviewer = register(stack)
    name = publish(stack, {"ask": {**ASK, "next": "say"}, "say": notify("Done")})
    run = start_run(author, name, reviewer_id=reviewer.user_id)
    task = wait_for_task(reviewer, run, LEASE_TIMEOUT_SECONDS)

    paused = move_run(author, run, "pause")
    approve(reviewer, task)
    held = eventually(lambda: get_statuses(author, run).get("say"))
    resumed = move_run(author, run, "resume")

    assert (paused["status"], held, resumed["status"]) == ("paused", "held", "running")
    assert wait_for_run(author, run, LEASE_TIMEOUT_SECONDS)["status"] == "completed"


def test_a_cancelled_run_closes_its_open_tasks(stack: Stack) -> None:
    author = register(stack)
    reviewer = register(stack)
    run = start_run(author, publish(stack, {"ask": ASK}), reviewer_id=reviewer.user_id)
    task = wait_for_task(reviewer, run, LEASE_TIMEOUT_SECONDS)

    cancelled = move_run(author, run, "cancel")

    refused = reviewer.request(
        "POST", "workflow", f"/tasks/{task['id']}/complete", json={"decision": "approve"}
    )
    assert (cancelled["status"], refused.status_code) == ("cancelled", 409)
    assert reviewer.get("workflow", f"/tasks/{task['id']}")["status"] == "closed"
