"""Retries and reruns: new runs that take over what is done."""

from typing import Any

import pytest

from workflow_service.database import session_maker
from workflow_service.engine.execution import claim_steps
from workflow_service.engine.worker import Worker
from workflow_service.neighbours import Neighbours

from .conftest import LEASE, Caller, Work, make_waiting_steps_due
from .fakes import Platform
from .steps import (
    SAGA,
    TWO_STEPS,
    build_notice,
    build_undo,
    finish_step,
    get_statuses,
    list_bodies,
    post_action,
    refuse_message,
)


def test_a_retry_goes_on_at_the_step_that_failed_with_its_key_and_repeats_nothing(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refuse_message(platform, "2")
    run = starter.start(starter.publish(TWO_STEPS))
    work()
    platform.before = lambda _: None
    first = len(platform.calls)

    retried = post_action(starter, run, "retry", version="pinned")
    work()

    again = retried.json()
    keys = [c.headers["Idempotency-Key"] for c in platform.calls if c.method == "POST"]
    assert (retried.status_code, again["retry_of"]) == (201, run["id"])
    assert starter.run(again)["status"] == "completed"
    assert starter.run(run)["status"] == "failed"
    assert list_bodies(platform, starter) == ["1", "2"]
    assert len(platform.calls) == first + 1
    assert keys[-1] == keys[-2]
    assert get_statuses(starter, again) == {"one": "done", "two": "done"}


def test_a_retry_goes_on_in_the_branch_that_failed(
    starter: Caller, platform: Platform, work: Work
) -> None:
    schema = {"type": "object", "properties": {"items": {"type": "array",
              "items": {"type": "string"}}}}  # fmt: skip
    one = build_notice("x") | {"with": {**build_notice("x")["with"], "body": "item"}, "next": "two"}
    steps = {
        "each": {"kind": "foreach", "with": {"items": "input.items", "limit": 1}, "do": "one"},
        "one": one,
        "two": {"kind": "set", "with": {"values": {"said": "item"}}},
    }
    refuse_message(platform, "b")
    run = starter.start(
        starter.publish(steps, input=schema, output={"all": "steps.each.items"}),
        items=["a", "b", "c"],
    )
    work()
    platform.before = lambda _: None

    again = post_action(starter, run, "retry", version="pinned").json()
    work()

    assert starter.run(again)["output"] == {"all": [{"said": text} for text in "abc"]}
    assert list_bodies(platform, starter) == ["a", "b", "c"]


BOTH: dict[str, Any] = {"kind": "parallel", "branches": {"a": "a1", "b": "b1"}}


NAP: dict[str, Any] = {"kind": "wait", "with": {"seconds": 9999}}


def test_a_wait_in_a_retried_branch_stops_no_timer_of_any_run(
    starter: Caller, platform: Platform, worker: Worker, work: Work
) -> None:
    refuse_message(platform, "bad")
    other = starter.start(starter.publish({"nap": NAP}))
    run = starter.start(starter.publish({"both": BOTH, "a1": NAP, "b1": build_notice("bad")}))
    work()
    platform.before = lambda _: None

    again = post_action(starter, run, "retry", version="pinned").json()
    worker.work()
    make_waiting_steps_due(run_id=other["id"])
    worker.work()

    assert starter.run(other)["status"] == "completed"
    assert get_statuses(starter, again) == {
        "both": "waiting", "both.a/a1": "waiting", "both.b/b1": "done"
    }  # fmt: skip
    make_waiting_steps_due(run_id=again["id"], name="a1")
    worker.work()
    assert starter.run(again)["status"] == "completed"


@pytest.mark.parametrize("more", [{"next": "a2"}, {}])
def test_a_retry_goes_on_in_branches_that_were_under_way_when_the_run_was_cancelled(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work, more: dict[str, str]
) -> None:
    """What is under way ends, since it may have to be undone; what follows it never began."""
    steps = {
        "both": {**BOTH, "next": "end"},
        "a1": build_notice("a1", **more),
        "b1": build_notice("b1"),
    }
    steps |= {"end": build_notice("end", undo=build_undo("un"))} | (
        {"a2": build_notice("a2")} if more else {}
    )
    run = starter.start(starter.publish(steps))
    with session_maker.begin() as session, session.no_autoflush:
        calls = claim_steps(session, neighbours, 2, LEASE)
    post_action(starter, run, "cancel")
    for call in calls:
        finish_step(call)
    work()
    assert starter.run(run)["status"] == "cancelled"

    again = post_action(starter, run, "retry", version="pinned").json()
    work()

    assert starter.run(again)["status"] == "completed"
    assert set(get_statuses(starter, again).values()) == {"done"}
    assert sorted(list_bodies(platform, starter)) == sorted(["a1", "b1", "end", *more.values()])


def test_a_retry_goes_on_in_the_run_that_a_step_had_started(
    starter: Caller, platform: Platform, work: Work
) -> None:
    child = starter.publish({**TWO_STEPS, "two": build_notice("2", next="nap"), "nap": NAP})
    call = {"kind": "workflow", "with": {"definition": f"'{child}'"}}
    refuse_message(platform, "2")
    run = starter.start(starter.publish({"call": call}))
    work()
    platform.before = lambda _: None

    again = post_action(starter, run, "retry", version="pinned").json()
    work()
    (launched,) = [e for e in starter.history(again) if e["type"] == "step.child_started"]
    assert get_statuses(starter, again) == {"call": "waiting"}
    make_waiting_steps_due(run_id=launched["data"]["workflow_id"])
    work()

    assert starter.run(again)["status"] == "completed"
    assert list_bodies(platform, starter) == ["1", "2"]


def test_a_retry_takes_what_a_run_gave_that_had_ended_well(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    refuse_message(platform, "bad")
    child = starter.publish({"one": build_notice("1")}, output={"n": "7"})
    call = {"kind": "workflow", "with": {"definition": f"'{child}'"}}
    steps = {"both": BOTH, "a1": call, "b1": build_notice("bad")}
    run = starter.start(starter.publish(steps, output={"n": "steps.both.a.output.n"}))
    with session_maker.begin() as session, session.no_autoflush:
        calls = claim_steps(session, neighbours, 2, LEASE)
    for each in sorted(calls, key=lambda call: call.run.definition != child):
        finish_step(each)
    assert starter.run(run)["status"] == "failed"
    platform.before = lambda _: None

    again = post_action(starter, run, "retry", version="pinned").json()
    work()

    assert starter.run(again)["output"] == {"n": 7}
    assert list_bodies(platform, starter) == ["1", "bad"]


def test_a_retry_with_the_latest_version_works_out_the_input_anew(
    starter: Caller, work: Work
) -> None:
    broken = {"one": {"kind": "set", "with": {"values": {"n": "1 / 0"}}}}
    name = starter.publish(broken, output={"n": "steps.one.n"})
    run = starter.start(name)
    corrected = {"one": {"kind": "set", "with": {"values": {"n": "7"}}}}
    new = {"title": "T", "start": "one", "steps": corrected, "output": {"n": "steps.one.n"}}
    assert starter.put(f"/definitions/{name}", json=new).status_code == 200

    pinned = post_action(starter, run, "retry", version="pinned").json()
    latest = post_action(starter, run, "retry", version="latest").json()
    work()

    assert starter.run(pinned)["status"] == "failed"
    assert (starter.run(latest)["output"], latest["version"]) == ({"n": 7}, 2)


def test_a_run_that_was_undone_is_retried_from_the_start(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refuse_message(platform, "3")
    run = starter.start(starter.publish(SAGA, on_failure="compensate"))
    work()
    platform.before = lambda _: None

    again = post_action(starter, run, "retry", version="pinned").json()
    work()

    assert starter.run(again)["status"] == "completed"
    assert list_bodies(platform, starter) == ["1", "2", "un2", "un1", "1", "2", "3"]


def test_a_rerun_from_a_step_keeps_what_came_before_and_asks_no_model_again(
    starter: Caller, platform: Platform, work: Work
) -> None:
    steps = {
        "sum": {"kind": "ai.summarize", "with": {"text": "'The mill is old.'"}, "next": "say"},
        "say": build_notice("x")
        | {"with": {**build_notice("x")["with"], "body": "steps.sum.summary"}},
    }
    run = starter.start(starter.publish(steps))
    work()

    again = post_action(starter, run, "rerun", from_step="say").json()
    work()

    found = starter.run(again)
    assert (found["status"], found["retry_of"]) == ("completed", run["id"])
    assert list_bodies(platform, starter) == ["The mill is old."] * 2
    assert (starter.run(run)["usage"]["calls"], found["usage"]["calls"]) == (1, 0)
    copied = [e for e in starter.history(again) if e["type"] == "step.copied"]
    assert [event["step"] for event in copied] == ["sum"]


def test_a_rerun_takes_nothing_for_done_that_was_undone(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refuse_message(platform, "3")
    run = starter.start(starter.publish(SAGA, on_failure="compensate"))
    work()

    refused = post_action(starter, run, "rerun", from_step="three")
    from_the_start = post_action(starter, run, "rerun", version="pinned")

    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"field": "from_step", "message": "two, which comes before it, was undone"}
    ]
    assert from_the_start.status_code == 201


def test_a_rerun_from_the_start_repeats_everything(
    starter: Caller, platform: Platform, work: Work
) -> None:
    run = starter.start(starter.publish(TWO_STEPS))
    work()

    again = post_action(starter, run, "rerun", version="latest").json()
    work()

    assert starter.run(again)["status"] == "completed"
    assert list_bodies(platform, starter) == ["1", "2"] * 2


def test_a_step_that_the_run_did_not_come_to_is_refused_by_name(
    starter: Caller, work: Work
) -> None:
    run = starter.start(starter.publish(TWO_STEPS))
    work()

    refused = post_action(starter, run, "rerun", from_step="nowhere")

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "from_step"


def test_a_run_that_is_under_way_or_complete_is_not_retried(starter: Caller, work: Work) -> None:
    run = starter.start(starter.publish(TWO_STEPS))
    early = post_action(starter, run, "retry", version="pinned")
    work()
    late = post_action(starter, run, "retry", version="pinned")

    assert (early.status_code, late.status_code) == (409, 409)
