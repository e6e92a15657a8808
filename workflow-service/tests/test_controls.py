"""Pausing, resuming and cancelling a run, and its business key."""

from collections.abc import Callable

import pytest

from workflow_service.database import session_maker
from workflow_service.engine.execution import claim_steps, finish_attempts, run_attempt
from workflow_service.neighbours import Neighbours

from .conftest import LEASE, Caller, Work
from .fakes import Platform
from .steps import TWO_STEPS, build_notice, get_statuses, list_bodies, post_action, refuse_message


def test_nothing_starts_while_a_run_is_paused_and_everything_after(
    starter: Caller, platform: Platform, work: Work
) -> None:
    run = starter.start(starter.publish(TWO_STEPS))

    answers = [post_action(starter, run, "pause") for _ in range(2)]
    work()

    assert [(a.status_code, a.json()["status"]) for a in answers] == [(200, "paused")] * 2
    assert list_bodies(platform, starter) == []
    for _ in range(2):
        assert post_action(starter, run, "resume").json()["status"] == "running"
    work()
    assert list_bodies(platform, starter) == ["1", "2"]


def test_a_step_that_is_under_way_when_its_run_is_paused_ends_and_the_next_one_waits(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish(TWO_STEPS))
    with session_maker.begin() as session, session.no_autoflush:
        (call,) = claim_steps(session, neighbours, 1, LEASE)
    post_action(starter, run, "pause")
    with session_maker.begin() as session, session.no_autoflush:
        finish_attempts(session, [(call, run_attempt(call))])
    work()

    assert get_statuses(starter, run) == {"one": "done", "two": "held"}
    assert starter.run(run)["status"] == "paused"
    post_action(starter, run, "resume")
    work()
    assert starter.run(run)["status"] == "completed"


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_run_that_has_ended_cannot_be_moved(starter: Caller, work: Work, verb: str) -> None:
    run = starter.start(starter.publish({"one": build_notice("1")}))
    work()

    refused = post_action(starter, run, verb)

    assert (refused.status_code, refused.json()["detail"]) == (409, "The run is completed")


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry", "rerun"])
def test_only_who_started_a_run_moves_it(
    starter: Caller, reviewer: Caller, stranger: Caller, login: Callable[..., Caller], work: Work,
    verb: str,
) -> None:  # fmt: skip
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    run = starter.start(starter.publish({"ask": ask}))
    work()
    body = {"version": "pinned"} if verb in ("retry", "rerun") else {}

    codes = [post_action(other, run, verb, **body).status_code for other in (reviewer, stranger)]

    assert codes == [403, 404]


def test_a_cancelled_run_ends_and_its_task_is_closed_and_told(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    run = starter.start(starter.publish({"ask": ask}))
    work()

    answers = [post_action(starter, run, "cancel") for _ in range(2)]
    work()

    (task,) = reviewer.tasks()
    assert [(a.status_code, a.json()["status"]) for a in answers] == [(200, "cancelled")] * 2
    assert (task["status"], task["reason"]) == ("closed", "It is not needed any more")
    assert "need not decide any more" in list_bodies(platform, reviewer)[1]
    closed = reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
    assert closed.status_code == 409


def test_cancelling_a_run_cancels_the_runs_that_it_started(starter: Caller, work: Work) -> None:
    child = starter.publish({"nap": {"kind": "wait", "with": {"seconds": 9999}}})
    call = {"kind": "workflow", "with": {"definition": f"'{child}'"}}
    run = starter.start(starter.publish({"call": call}))
    work()

    post_action(starter, run, "cancel")

    listed = starter.get("/workflows").json()["items"]
    assert {item["status"] for item in listed} == {"cancelled"}


def test_a_business_key_in_use_gives_the_run_that_has_it(
    starter: Caller, stranger: Caller, work: Work
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    name = starter.publish({"one": build_notice("1")}, input=schema)
    new = {"definition": name, "business_key": "order-7", "input": {"n": 1}}

    first, second = (starter.post("/workflows", json=new) for _ in range(2))
    other_input = starter.post("/workflows", json=new | {"input": {"n": 2}})
    of_another = stranger.post("/workflows", json=new)

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert (other_input.status_code, other_input.json()["code"]) == (409, "BusinessKeyTaken")
    assert of_another.status_code == 201
    assert of_another.json()["id"] != first.json()["id"]


def test_a_failed_run_gives_its_business_key_to_its_retry(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refuse_message(platform, "1")
    new = {"definition": starter.publish({"one": build_notice("1")}), "business_key": "order-8"}
    run = starter.post("/workflows", json=new).json()
    work()
    platform.before = lambda _: None

    again = post_action(starter, run, "retry", version="pinned").json()

    assert again["business_key"] == "order-8"
    assert starter.post("/workflows", json=new).json()["id"] == again["id"]
    refused = post_action(starter, run, "retry", version="pinned")
    assert (refused.status_code, refused.json()["code"]) == (409, "BusinessKeyTaken")
