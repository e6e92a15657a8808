"""One run with a step of every type."""

from collections.abc import Callable
from typing import Any

from workflow_service.steps import STEP_TYPES

from .conftest import Caller, Work
from .fakes import Platform
from .steps import TELL, set_values


def test_a_run_of_every_kind_completes_and_its_history_names_each(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work, web: Callable[..., Any]
) -> None:
    child = starter.publish({"say": TELL}, output={"said": "'yes'"})
    about = {"document_id": "input.document"}
    ask = {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}
    sorted_as = {**about, "labels": ["'water'", "'fire'"]}
    figures = {**about, "into": {"type": "'object'", "properties": {"n": {"type": "'number'"}}}}
    with web((200, {"Content-Type": "application/json"}, b'{"ok": true}')) as server:
        kinds = {
            "content.fetch": about,
            "content.process": about,
            "content.share": {**about, "user_id": f"'{reviewer.user_id}'"},
            "ai.summarize": about,
            "ai.classify": sorted_as,
            "ai.extract": figures,
            "communication.notify": TELL["with"],
            "http": {"url": f"'{server.url}/'"},
            "wait": {"seconds": 0},
            "set": {"values": {"n": 1}},
            "workflow": {"definition": f"'{child}'"},
            "approval": ask,
            "parallel": {},
            "foreach": {"items": "[1, 2]"},
        }
        names = [*kinds]
        steps: dict[str, Any] = {
            f"s{n}": {"kind": kind, "with": given_to, "next": f"s{n + 1}"}
            for n, (kind, given_to) in enumerate(kinds.items())
        }
        steps[f"s{names.index('parallel')}"]["branches"] = {"left": "in_left", "right": "in_right"}
        steps[f"s{names.index('foreach')}"]["do"] = "in_each"
        last = {"kind": "branch", "choices": [{"when": "true", "next": "end"}]}
        steps |= {f"s{len(names)}": last, "end": TELL}
        steps |= {name: set_values(n="1") for name in ("in_left", "in_right", "in_each")}
        schema = {"type": "object", "properties": {"document": {"type": "string"}}}
        run = starter.start(
            starter.publish(steps, input=schema), document=platform.content.add(starter.user_id)
        )
        work()
        (task,) = reviewer.tasks()
        reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
        work()

    found = starter.get(f"/workflows/{run['id']}/steps").json()["items"]
    assert starter.run(run)["status"] == "completed", starter.run(run)["error"]
    assert {step["kind"] for step in found} == set(STEP_TYPES)
    assert {e["step"] for e in starter.history(run) if e["type"] == "step.done"} >= set(steps) - {
        "in_left", "in_right", "in_each"
    }  # fmt: skip
