"""The branches of parallel and the iterations of foreach."""

import time
from threading import Lock
from typing import Any

import httpx
import pytest

from workflow_service.neighbours import Neighbours

from .conftest import Caller, Work, create_worker
from .fakes import Platform, problem
from .steps import LIST, TELL, foreach, get_statuses, set_values


def test_branches_run_side_by_side_and_all_are_joined(starter: Caller, work: Work) -> None:
    steps = {
        "both": {"kind": "parallel", "branches": {"left": "one", "right": "two"}, "next": "sum"},
        "one": set_values(n="1"),
        "two": set_values(n="input.n + 1") | {"next": "three"},
        "three": TELL | {"next": "four"},
        "four": set_values(n="steps.two.n * 10"),
        "sum": set_values(n="steps.both.left.n + steps.both.right.n"),
    }
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    run = starter.start(starter.publish(steps, input=schema, output={"n": "steps.sum.n"}), n=1)

    work()

    assert starter.run(run)["output"] == {"n": 21}
    assert set(get_statuses(starter, run)) == {
        "both", "both.left/one", "both.right/two", "both.right/three", "both.right/four", "sum"
    }  # fmt: skip


def test_the_first_branch_is_enough_for_any_and_the_others_are_cancelled(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    steps = {
        "race": {"kind": "parallel", "branches": {"a": "ask", "b": "fast"}, "join": "any"},
        "ask": ask,
        "fast": TELL | {"next": "done"},
        "done": set_values(who="'b'"),
    }
    run = starter.start(starter.publish(steps, output={"won": "steps.race"}))

    work()

    assert starter.run(run)["output"] == {"won": {"b": {"who": "b"}}}
    assert get_statuses(starter, run)["race.a/ask"] == "cancelled"
    assert [task["status"] for task in reviewer.tasks()] in ([], ["closed"])


def test_any_fails_only_when_all_have_failed(
    starter: Caller, platform: Platform, work: Work
) -> None:
    bad = TELL | {"with": TELL["with"] | {"recipient_id": "'unknown'"}}
    race = {"kind": "parallel", "branches": {"a": "bad", "b": "good"}, "join": "any"}
    one = starter.start(starter.publish({"race": race, "bad": bad, "good": TELL}))
    none = starter.start(starter.publish({"race": race, "bad": bad, "good": bad}))

    work()

    assert starter.run(one)["status"] == "completed"
    assert starter.run(none)["error"].startswith("race: race.")


@pytest.mark.parametrize(("limit", "items"), [(1, 12), (5, 100)])
def test_no_more_items_than_the_limit_are_under_way_at_once(
    starter: Caller, platform: Platform, neighbours: Neighbours, limit: int, items: int
) -> None:
    under_way, most, lock = 0, 0, Lock()

    def count(request: httpx.Request) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1

    platform.before = count
    schema = {
        "each": foreach("one", limit),
        "one": TELL | {"next": "two"},
        "two": set_values(i="item"),
    }
    run = starter.start(starter.publish(schema, input=LIST, output={"all": "steps.each.items"}),
                        items=list(range(items)))  # fmt: skip

    create_worker(neighbours).work()

    assert limit // 2 < most <= limit
    assert starter.run(run)["output"] == {"all": [{"i": n} for n in range(items)]}


def test_a_hundred_items_and_branches_in_branches_are_joined_in_order(
    starter: Caller, work: Work
) -> None:
    steps = {
        "each": foreach("both", 5),
        "both": {"kind": "parallel", "branches": {"x": "double", "y": "again"}},
        "double": set_values(n="item * 2"),
        "again": set_values(n="index"),
    }
    run = starter.start(
        starter.publish(steps, input=LIST, output={"all": "steps.each.items"}),
        items=[7] * 100,
    )

    work()

    assert starter.run(run)["output"]["all"] == [
        {"x": {"n": 14}, "y": {"n": n}} for n in range(100)
    ]


def test_nothing_to_do_for_is_done_at_once(starter: Caller, work: Work) -> None:
    run = starter.start(
        starter.publish({"each": foreach("one"), "one": TELL}, input=LIST), items=[]
    )

    assert starter.run(run)["status"] == "completed"


def test_a_branch_that_fails_fails_the_step_around_it_and_ends_the_other_branches(
    starter: Caller, work: Work
) -> None:
    steps = {
        "each": foreach("one", 2) | {"on_failure": "continue", "next": "after"},
        "one": set_values(n="10 / item"),
        "after": set_values(error="steps.each.error"),
    }
    run = starter.start(
        starter.publish(steps, input=LIST, output={"error": "steps.after.error"}), items=[1, 0, 2]
    )

    work()

    assert "each.1/one: steps.one.with.values.n: 10 / item" in starter.run(run)["output"]["error"]


def test_a_step_may_fail_and_the_run_go_on(starter: Caller, platform: Platform, work: Work) -> None:
    platform.before = lambda _: problem(404, "This user is unknown")
    steps = {
        "tell": TELL | {"on_failure": "continue", "next": "after"},
        "after": set_values(error="steps.tell.error"),
    }
    run = starter.start(starter.publish(steps, output={"error": "steps.after.error"}))

    work()

    assert starter.run(run)["output"] == {"error": "communication-service: This user is unknown"}


def test_expressions_outside_a_foreach_know_no_item(starter: Caller) -> None:
    steps = {"one": set_values(n="item")}
    definition = {"title": "T", "start": "one", "steps": steps}

    response = starter.post("/definitions/validate", json=definition)

    assert response.status_code == 422
    assert response.json()["errors"][0]["message"].startswith("item is not known")


@pytest.mark.parametrize(
    ("steps", "field", "message"),
    [
        ({"a": {"kind": "parallel"}}, "a.branches", "parallel needs branches"),
        ({"a": foreach("nowhere")}, "a.do", "there is no step nowhere"),
        ({"a": TELL | {"do": "b"}, "b": TELL}, "a.do", "communication.notify has no do"),
        (
            {"a": {"kind": "parallel", "branches": {"x": "b", "y": "b"}}, "b": TELL},
            "a.branches.y",
            "leads to b, which steps.a.branches.x leads to as well",
        ),
        (
            {"a": foreach("b", next="b"), "b": TELL},
            "a.do",
            "leads to b, which start leads to as well",
        ),
        ({"a": TELL | {"undo": {"kind": "branch"}}}, "a.undo.kind", "branch undoes nothing"),
        ({"a": TELL | {"undo": {"kind": "magic"}}}, "a.undo.kind", "there is no kind magic"),
    ],
)
def test_branches_that_cannot_work_are_refused_by_name(
    starter: Caller, steps: dict[str, Any], field: str, message: str
) -> None:
    definition = {"title": "T", "start": "a", "steps": steps, "input": LIST}

    response = starter.post("/definitions/validate", json=definition)

    errors = {error["field"]: error["message"] for error in response.json()["errors"]}
    assert message in errors[f"steps.{field}"]


def test_a_branch_that_ends_in_an_approval_gives_the_decision(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    ask = {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}
    both = {"kind": "parallel", "branches": {"legal": "ask", "other": "say"}}
    steps = {"both": both, "ask": {"kind": "approval", "with": ask}, "say": set_values(n="1")}
    run = starter.start(starter.publish(steps, output={"decision": "steps.both.legal.decision"}))
    work()  # also notifies the reviewer, by a step that is newer than the approval
    (task,) = reviewer.tasks()

    reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "reject"})

    assert starter.run(run)["output"] == {"decision": "reject"}
