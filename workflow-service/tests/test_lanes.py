"""parallel, foreach, workflow, wait, set, http: lanes, joins, timers, runs in runs."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from workflow_service.database import session_maker
from workflow_service.models import Step
from workflow_service.neighbours import Neighbours
from workflow_service.steps import STEP_TYPES

from .conftest import Caller, Work, create_worker, make_waiting_steps_due
from .fakes import Platform, problem

TELL: dict[str, Any] = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}
LIST = {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "integer"}}}}


def given(**values: Any) -> dict[str, Any]:
    return {"kind": "set", "with": {"values": values}}


def foreach(first: str, limit: int = 10, **more: Any) -> dict[str, Any]:
    return {
        "kind": "foreach",
        "with": {"items": "input.items", "limit": limit},
        "do": first,
        **more,
    }


def paths(starter: Caller, run: dict[str, Any]) -> dict[str, str]:
    return {step["path"]: step["status"] for step in starter.run(run)["steps"]}


def test_branches_run_side_by_side_and_all_are_joined(starter: Caller, work: Work) -> None:
    steps = {
        "both": {"kind": "parallel", "branches": {"left": "one", "right": "two"}, "next": "sum"},
        "one": given(n="1"),
        "two": given(n="input.n + 1") | {"next": "three"},
        "three": TELL | {"next": "four"},
        "four": given(n="steps.two.n * 10"),
        "sum": given(n="steps.both.left.n + steps.both.right.n"),
    }
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    run = starter.start(starter.publish(steps, input=schema, output={"n": "steps.sum.n"}), n=1)

    work()

    assert starter.run(run)["output"] == {"n": 21}
    assert set(paths(starter, run)) == {
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
        "done": given(who="'b'"),
    }
    run = starter.start(starter.publish(steps, output={"won": "steps.race"}))

    work()

    assert starter.run(run)["output"] == {"won": {"b": {"who": "b"}}}
    assert paths(starter, run)["race.a/ask"] == "cancelled"
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
    schema = {"each": foreach("one", limit), "one": TELL | {"next": "two"}, "two": given(i="item")}
    run = starter.start(starter.publish(schema, input=LIST, output={"all": "steps.each.items"}),
                        items=list(range(items)))  # fmt: skip

    create_worker(neighbours).work()

    assert limit // 2 < most <= limit
    assert starter.run(run)["output"] == {"all": [{"i": n} for n in range(items)]}


def test_a_hundred_items_and_lanes_in_lanes_are_joined_in_order(
    starter: Caller, work: Work
) -> None:
    steps = {
        "each": foreach("both", 5),
        "both": {"kind": "parallel", "branches": {"x": "double", "y": "again"}},
        "double": given(n="item * 2"),
        "again": given(n="index"),
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


def test_a_lane_that_fails_fails_the_step_around_it_and_ends_the_other_lanes(
    starter: Caller, work: Work
) -> None:
    steps = {
        "each": foreach("one", 2) | {"on_failure": "continue", "next": "after"},
        "one": given(n="10 / item"),
        "after": given(error="steps.each.error"),
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
        "after": given(error="steps.tell.error"),
    }
    run = starter.start(starter.publish(steps, output={"error": "steps.after.error"}))

    work()

    assert starter.run(run)["output"] == {"error": "communication-service: This user is unknown"}


def test_a_run_starts_another_and_waits_for_its_output(starter: Caller, work: Work) -> None:
    child = starter.publish(
        {"tell": TELL | {"next": "double"}, "double": given(n="input.items[0] * 2")},
        input=LIST,
        output={"n": "steps.double.n"},
    )
    call = {"kind": "workflow", "with": {"definition": f"'{child}'", "input": {"items": "[21]"}}}
    run = starter.start(starter.publish({"call": call}, output={"n": "steps.call.output.n"}))
    work()

    assert starter.run(run)["output"] == {"n": 42}
    listed = {item["definition"]: item for item in starter.get("/workflows").json()["items"]}
    assert listed[child]["trace_id"] == run["trace_id"]


def test_a_run_in_a_run_that_fails_fails_the_step(starter: Caller, work: Work) -> None:
    child = starter.publish({"bad": given(n="input.items[0]")}, input=LIST)
    call = {"kind": "workflow", "with": {"definition": f"'{child}'", "input": {"items": "[]"}}}
    run = starter.start(starter.publish({"call": call}))

    work()

    error = starter.run(run)["error"]
    assert error.startswith("call: workflow ")
    assert "is failed: bad: steps.bad.with.values.n" in error


def test_a_run_in_a_run_is_given_what_it_declares_or_does_not_begin(
    starter: Caller, work: Work
) -> None:
    child = starter.publish({"tell": TELL}, input=LIST)
    call = {"kind": "workflow", "with": {"definition": f"'{child}'", "input": {"items": "['x']"}}}
    run = starter.start(starter.publish({"call": call}))

    work()

    assert starter.run(run)["error"] == "call: input.items.0: 'x' is not of type 'integer'"
    assert len(starter.get("/workflows").json()["items"]) == 1


def test_runs_that_start_themselves_come_to_an_end(starter: Caller, work: Work) -> None:
    name = f"self-{starter.user_id}"
    call = {"kind": "workflow", "with": {"definition": f"'{name}'"}}
    new = {"name": name, "title": "Itself", "start": "call", "steps": {"call": call}}
    assert starter.post("/definitions", json=new).status_code == 201
    run = starter.start(name)

    work()

    assert "runs start runs at most 5 deep" in starter.run(run)["error"]


def test_a_wait_is_over_when_its_time_has_come_and_not_before(
    starter: Caller, platform: Platform, work: Work
) -> None:
    steps = {"nap": {"kind": "wait", "with": {"seconds": 3 * 86400}, "next": "tell"}, "tell": TELL}
    run = starter.start(starter.publish(steps))
    work()
    assert (starter.run(run)["status"], paths(starter, run)) == ("waiting", {"nap": "waiting"})

    make_waiting_steps_due(run_id=run["id"])
    work()

    assert starter.run(run)["status"] == "completed"
    assert paths(starter, run) == {"nap": "done", "tell": "done"}
    assert len(platform.communication.to(starter.user_id)) == 1


def test_a_clock_that_jumped_ahead_ends_no_wait_early(starter: Caller, work: Work) -> None:
    steps = {"nap": {"kind": "wait", "with": {"until": "'2999-01-01T00:00:00Z'"}}}
    run = starter.start(starter.publish(steps))
    work()
    with session_maker.begin() as session:  # woken too early, by whichever clock
        session.execute(update(Step).filter_by(run_id=run["id"]).values(run_at=Step.created_at))

    work()

    assert paths(starter, run) == {"nap": "waiting"}


def test_a_wait_goes_by_the_clock_of_the_database_and_not_by_that_of_a_worker(
    starter: Caller, work: Work
) -> None:
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    steps = {"nap": {"kind": "wait", "with": {"until": f"'{an_hour_ago}'"}}}
    run = starter.start(starter.publish(steps))
    with session_maker.begin() as session:  # the database had it due an hour before that
        due = update(Step).filter_by(run_id=run["id"])
        session.execute(due.values(run_at=Step.run_at - timedelta(hours=2)))

    work()

    types = [event["type"] for event in starter.history(run)]
    assert types.count("step.rescheduled") == 1
    assert starter.run(run)["status"] == "completed"


def test_http_carries_the_steps_key_and_gives_what_was_answered(
    starter: Caller, work: Work, web: Callable[..., Any]
) -> None:
    with web((503, {}, b""), (200, {"Content-Type": "application/json"}, b'{"n": 7}')) as server:
        call = {
            "kind": "http",
            "with": {"method": "'POST'", "url": f"'{server.url}/x'", "body": {"a": "input.items"}},
        }
        run = starter.start(
            starter.publish({"call": call}, input=LIST, output={"n": "steps.call.json.n"}),
            items=[1],
        )
        work()

    keys = [headers["idempotency-key"] for _, headers, _ in server.requests]
    assert starter.run(run)["output"] == {"n": 7}
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert server.requests[0][2] == b'{"a": [1]}'
    assert not any("authorization" in headers for _, headers, _ in server.requests)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/", "127.0.0.1 has an address that is not public"),
        ("http://169.254.169.254/latest", "has an address that is not public"),
        ("http://[::1]/", "has an address that is not public"),
        ("http://localhost:8001/", "has an address that is not public"),
        ("ftp://example.com/", "must begin with https:// or http://"),
        ("http://a:b@example.com/", "no user, password"),
    ],
)
def test_http_never_leads_into_our_own_network(
    starter: Caller, work: Work, url: str, reason: str
) -> None:
    run = starter.start(starter.publish({"call": {"kind": "http", "with": {"url": f"'{url}'"}}}))

    work()

    assert reason in starter.run(run)["error"]


def test_http_gives_up_at_once_when_it_is_refused(
    starter: Caller, work: Work, web: Callable[..., Any]
) -> None:
    with web((404, {}, b"")) as server:
        call = {"kind": "http", "with": {"url": f"'{server.url}/'"}}
        run = starter.start(starter.publish({"call": call}))
        work()

    assert starter.run(run)["error"] == "call: 127.0.0.2: answered 404"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "127.0.0.2: its answer should be JSON, and is not JSON"),
        (b"[" * 60_000, "127.0.0.2: its answer should be JSON, and is not JSON"),
        (b'"' + b"x" * 70_000 + b'"', "its answer should be JSON, and is longer than 64 KiB"),
        (b'{"n": NaN}', "its output cannot be stored: it must not contain NaN"),
        (b"[" + b"1," * 10_000 + b"1]", "it must have at most 10000 values"),
        (b"[" * 21 + b"]" * 21, "it must have at most 10000 values, nested 20 deep"),
        (b'"\\ud800"', "it must be well-formed Unicode"),
    ],
)
def test_an_answer_that_cannot_be_kept_fails_the_step_at_once_with_the_reason(
    starter: Caller, work: Work, web: Callable[..., Any], body: bytes, reason: str
) -> None:
    with web((200, {"Content-Type": "application/json"}, body)) as server:
        call = {"kind": "http", "with": {"method": "'POST'", "url": f"'{server.url}/'"}}
        run = starter.start(starter.publish({"call": call}))
        work()

    assert reason in starter.run(run)["error"]
    assert len(server.requests) == 1


def test_expressions_outside_a_foreach_know_no_item(starter: Caller) -> None:
    steps = {"one": given(n="item")}
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
def test_lanes_that_cannot_work_are_refused_by_name(
    starter: Caller, steps: dict[str, Any], field: str, message: str
) -> None:
    definition = {"title": "T", "start": "a", "steps": steps, "input": LIST}

    response = starter.post("/definitions/validate", json=definition)

    errors = {error["field"]: error["message"] for error in response.json()["errors"]}
    assert message in errors[f"steps.{field}"]


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
        steps |= {name: given(n="1") for name in ("in_left", "in_right", "in_each")}
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
