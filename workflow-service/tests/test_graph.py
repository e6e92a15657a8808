"""Pictures of runs and definitions, as Mermaid and as SVG."""

from typing import Any
from xml.etree import ElementTree

from .conftest import Caller, Work

TELL: dict[str, Any] = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}


def test_a_graph_shows_each_step_with_its_status(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    steps = {
        "tell": TELL | {"next": "ask"},
        "ask": ask | {"next": "fork"},
        "fork": {
            "kind": "branch",
            "choices": [{"when": "steps.ask.comment == '\"<b>|%%{'", "next": "end"}],
        },
        "end": TELL,
    }
    name = starter.publish(steps)
    run = starter.start(name)
    work()

    mermaid = starter.get(f"/workflows/{run['id']}/graph")
    picture = starter.get(f"/workflows/{run['id']}/graph?format=svg")

    lines = [line.strip() for line in mermaid.text.splitlines()]
    assert lines[0] == "flowchart TD"
    assert 's_tell["tell<br/>communication.notify<br/>done"]' in lines
    assert {"class s_tell done", "class s_ask waiting", "s_tell --> s_ask"} <= set(lines)
    (choice,) = [line for line in lines if line.endswith("s_end") and "|" in line]
    assert "<b>" not in choice
    assert "%%" not in choice  # a directive to Mermaid
    assert choice.count('"') == 2
    root = ElementTree.fromstring(picture.content)
    groups = {g.get("id"): g.get("class") for g in root.iter("{http://www.w3.org/2000/svg}g")}
    assert groups == {
        "step-tell": "done", "step-ask": "waiting", "step-fork": "", "step-end": ""
    }  # fmt: skip
    assert starter.get(f"/definitions/{name}/diagram").text.startswith("flowchart TD")


def test_a_picture_is_valid_xml_whatever_a_condition_contains(starter: Caller) -> None:
    odd = "\x01\x1b\x85\ufffe<&>"
    fork = {"kind": "branch", "choices": [{"when": f"'{odd}' == ''", "next": "end"}]}
    run = starter.start(starter.publish({"fork": fork, "end": TELL}))

    picture = starter.get(f"/workflows/{run['id']}/graph?format=svg")

    ElementTree.fromstring(picture.content)
