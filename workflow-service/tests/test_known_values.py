"""What publishing a definition knows of inputs and outputs, and says about names that are wrong."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from workflow_service.definition.model import Definition, StepDefinition
from workflow_service.definition.value_schemas import list_members
from workflow_service.known_values import Inference, KnownValues
from workflow_service.steps import STEP_TYPES

from .conftest import Caller
from .steps import TELL, set_values

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
ROWS = dict(re.findall(r"^\| `([\w.]+)` \|.*\| (.+) \|$", README.split("### Step types")[1], re.M))
ID = "'00000000-0000-4000-8000-000000000000'"
SCHEMA = {
    "type": "object",
    "properties": {
        "boss": {"type": "string"},
        "rows": {
            "type": "array",
            "items": {"type": "object", "properties": {"price": {"type": "number"}}},
        },
        "more": {"type": "object", "additionalProperties": True},
    },
}
INTO = {"type": "'object'", "properties": {"amount": {"type": "'number'"}}}
STEPS: dict[str, Any] = {
    "fetch": {"kind": "content.fetch", "with": {"document_id": ID}, "next": "tell"},
    "tell": {**TELL, "on_failure": "continue", "next": "group"},
    "group": {
        "kind": "communication.notify",
        "with": {"role": "'board'", "subject": "'S'", "body": "'B'"},
        "next": "ask",
    },
    "ask": {"kind": "approval", "with": {"assignee_id": ID, "title": "'T'"}, "next": "read"},
    "read": {"kind": "ai.extract", "with": {"text": "'T'", "into": INTO}, "next": "free"},
    "free": {"kind": "ai.extract", "with": {"text": "'T'", "into": "input.more"}, "next": "web"},
    "web": {"kind": "http", "with": {"url": "'https://example.com'"}, "next": "values"},
    "values": set_values(doc="steps.fetch", n="1", deep={"vote": "steps.ask.votes[0]"})
    | {"next": "both"},
    "both": {"kind": "parallel", "branches": {"left": "l", "right": "r"}, "next": "each"},
    "l": set_values(x="input.boss"),
    "r": TELL,
    "each": {"kind": "foreach", "with": {"items": "input.rows"}, "do": "one", "next": "child"},
    "one": set_values(cost="item.price + double(index)"),
    "child": {"kind": "workflow", "with": {"definition": "'other'"}, "next": "last"},
    "last": set_values(all="1"),
}


def check(caller: Caller, text: str, place: str = "last") -> dict[str, str]:
    """Returns the faults of a definition in which the values of a step have this expression."""
    step = {**STEPS[place], "with": {"values": {"checked": text}}}
    body = {"title": "T", "start": "fetch", "input": SCHEMA, "steps": {**STEPS, place: step}}
    response = caller.post("/definitions/validate", json=body)
    errors = response.json().get("errors", [])
    return {error["field"]: error["message"] for error in errors}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps.tell.notificaton_id", "no notificaton_id: did you mean 'notification_id'?"),
        ("steps['tell'].notificaton_id", "steps.tell has no notificaton_id: did you mean"),
        ("(steps.tell)['notificaton_id']", "did you mean 'notification_id'?"),
        ("has(steps.tell.notificaton_id)", "did you mean 'notification_id'?"),
        ("size(steps.tell.statu) > 1 ? 'a' : 'b'", "did you mean 'status'?"),
        ("[1, {'a': steps.tell.statu}]", "did you mean 'status'?"),
        ("!steps.fetch.tilte.startsWith('a')", "did you mean 'title'?"),
        ("steps.group.notification_id", "did you mean 'notification_ids'?"),
        ("steps.fetch.title.length", "steps.fetch.title has no length"),
        ("steps.fetch.error", "steps.fetch has no error; it has: id, owner_id, title"),
        ("steps.ask.votes[0].decison", "votes[0] has no decison: did you mean 'decision'?"),
        ("steps.ask.votes[input.more.n].decison", "did you mean 'decision'?"),
        ("steps.ask.votes.decision", "steps.ask.votes has no decision"),
        ("steps.read.amont", "did you mean 'amount'?"),
        ("steps.web.stauts", "did you mean 'status'?"),
        ("steps.values.dco", "did you mean 'doc'?"),
        ("steps.values.doc.titel", "steps.values.doc has no titel: did you mean 'title'?"),
        ("steps.values.deep.vote.comments", "did you mean 'comment'?"),
        ("steps.both.lefd", "did you mean 'left'?"),
        ("steps.both.left.y", "steps.both.left has no y; it has: x"),
        ("steps.each.item", "did you mean 'items'?"),
        ("steps.each.items[0].costs", "did you mean 'cost'?"),
        ("steps.child.workflow", "did you mean 'workflow_id'?"),
        ("steps.tel.status", "no step that comes before this one: did you mean 'tell'?"),
        ("steps.one.cost", "steps.one is no step that comes before this one"),
        ("input.bos", "input has no bos: did you mean 'boss'?"),
        ("input.rows[0].pric", "did you mean 'price'?"),
        ("run.startedby", "did you mean 'started_by'?"),
        ("inptu.boss", "inptu is not known: did you mean 'input'?"),
        ("sized(input.boss)", "there is no function sized: did you mean 'size'?"),
    ],
)  # fmt: skip
def test_a_wrong_name_in_an_expression_is_refused_with_the_closest_one(
    starter: Caller, text: str, message: str
) -> None:
    found = check(starter, text)

    assert found.keys() == {"steps.last.with.values.checked"}
    assert message in found["steps.last.with.values.checked"]


@pytest.mark.parametrize(
    "text",
    [
        "steps.tell.error", "has(steps.tell.error) ? 'no' : steps.tell.status",
        "steps.web.json.anything[3].at.all", "steps.free.anything", "steps.child.output.anything",
        "input.more.anything.at.all", "steps.read.amount", "steps.read.provider",
        "steps.ask.votes[0].comment", "steps.values.doc.tags[0]", "steps.values.n.anything",
        "steps.both.left.x", "steps.both.right.notification_id", "steps.each.items[0].cost",
        "steps[input.boss].anything", "steps", "input", "run.id + input.boss",
        "steps.fetch.title.size()", "[steps.tell][0].anything", "{'a': 1}.a",
    ],
)  # fmt: skip
def test_what_may_be_there_is_not_refused(starter: Caller, text: str) -> None:
    assert check(starter, text) == {}


@pytest.mark.parametrize(
    ("place", "text", "message"),
    [
        ("one", "item.pric", "item has no pric: did you mean 'price'?"),
        ("one", "steps.each.items", "steps.each is no step that comes before this one"),
        ("l", "steps.both", "steps.both is no step that comes before this one"),
        ("l", "steps.r.status", "steps.r is no step that comes before this one"),
        ("l", "item", "item is not known"),
    ],
)
def test_a_step_inside_another_sees_its_items_and_not_its_output(
    starter: Caller, place: str, text: str, message: str
) -> None:
    assert message in check(starter, text, place)[f"steps.{place}.with.values.checked"]


@pytest.mark.parametrize(
    ("change", "field", "close"),
    [
        ({"start": "fetsh"}, "start", "fetch"),
        ({"output": {"a": "steps.ask.decison"}}, "output.a", "decision"),
        ({"output": {"a": "steps.l.x"}}, "output.a", ""),
        ({"input": {**SCHEMA, "required": ["bos"]}}, "input.required.0", "boss"),
        ({"budget": {"usd": 1, "assignee_id": "input.bos"}}, "budget.assignee_id", "boss"),
        ({"last": {"next": "fetsh"}}, "steps.last.next", "fetch"),
        ({"last": {"kind": "sett"}}, "steps.last.kind", "set"),
        ({"last": {"with": {"value": "1"}}}, "steps.last.with.value", "values"),
        ({"last": {"undo": {"kind": "htpt"}}}, "steps.last.undo.kind", "http"),
        (
            {"last": {"undo": {"kind": "http", "with": {"url": "steps.last.al"}}}},
            "steps.last.undo.with.url",
            "all",
        ),
    ],
)
def test_every_name_in_a_definition_has_a_suggestion(
    starter: Caller, change: dict[str, Any], field: str, close: str
) -> None:
    body: dict[str, Any] = {"title": "T", "start": "fetch", "input": SCHEMA, **change}
    body["steps"] = {**STEPS, "last": {**STEPS["last"], **body.pop("last", {})}}

    errors = starter.post("/definitions/validate", json=body).json()["errors"]

    (message,) = [error["message"] for error in errors if error["field"] == field]
    assert (f": did you mean '{close}'?" in message) == bool(close)


def test_a_definition_with_every_kind_of_known_value_is_valid(starter: Caller) -> None:
    assert check(starter, "steps.values.deep.vote.decision") == {}


def test_checking_a_long_expression_and_many_names_is_over_soon(starter: Caller) -> None:
    started = time.process_time()

    long_chain = check(starter, "steps.tell" + ".a" * 5000)
    many = {f"name_{n}_{'x' * 40}": "1" for n in range(4000)}
    wrong = {str(n): f"steps.one.name_{n}_{'y' * 40}" for n in range(1000)}
    steps = {"one": {**set_values(**many), "next": "two"}, "two": set_values(**wrong)}
    body = {"title": "T", "start": "one", "steps": steps}
    found = starter.post("/definitions/validate", json=body).json()["errors"]

    assert "steps.tell has no a" in next(iter(long_chain.values()))
    assert len(found) == 50
    assert time.process_time() - started < 10


def test_a_hundred_steps_in_a_row_are_followed(starter: Caller) -> None:
    steps = {"s0": set_values(a="input.boss") | {"next": "s1"}}
    for n in range(1, 99):
        steps[f"s{n}"] = set_values(a=f"steps.s{n - 1}.a") | {"next": f"s{n + 1}"}
    steps["s99"] = set_values(a="steps.s98.a.b")
    body = {"title": "T", "start": "s0", "input": SCHEMA, "steps": steps}

    (error,) = starter.post("/definitions/validate", json=body).json()["errors"]

    assert error == {
        "field": "steps.s99.with.values.a",
        "message": "steps.s98.a has no b",
    }


@pytest.mark.parametrize("kind", sorted(STEP_TYPES))
def test_the_table_in_the_readme_has_the_declared_outputs(kind: str) -> None:
    inputs: dict[str, Any] = {"values": {}, "into": {"type": "'object'"}}
    inputs |= {"recipient_id": "''", "role": "''"} if kind == "communication.notify" else {}
    step = StepDefinition.model_validate({"kind": kind, "with": inputs})
    definition = Definition(title="T", start="a", steps={"a": step})

    output = STEP_TYPES[kind].describe_output(step, Inference(KnownValues(definition), "a"))

    assert set(re.findall(r"`(\w+)`", ROWS[kind])) == set(list_members(output))
