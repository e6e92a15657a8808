"""Runs that steps start."""

import time

from .conftest import Caller, Work
from .steps import LIST, TELL, set_values


def test_a_run_starts_another_and_waits_for_its_output(starter: Caller, work: Work) -> None:
    child = starter.publish(
        {"tell": TELL | {"next": "double"}, "double": set_values(n="input.items[0] * 2")},
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
    child = starter.publish({"bad": set_values(n="input.items[0]")}, input=LIST)
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


def test_a_step_that_fails_because_it_is_late_cancels_the_run_that_it_started(
    starter: Caller, work: Work
) -> None:
    wait = {"kind": "wait", "with": {"seconds": 9999}}
    child = starter.publish({"nap": wait})
    start = {"kind": "workflow", "with": {"definition": f"'{child}'"}}
    steps = {"sub": start | {"sla": {"seconds": 0.1, "action": "fail"}}}
    run = starter.start(starter.publish(steps))
    work()
    time.sleep(0.2)

    work()

    (started,) = [e for e in starter.history(run) if e["type"] == "step.child_started"]
    below = {"id": started["data"]["workflow_id"]}
    assert (starter.run(run)["status"], starter.run(below)["status"]) == ("failed", "cancelled")
