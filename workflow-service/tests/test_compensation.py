"""Undoing what was done, before a run ends early."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from workflow_service.database import session_maker
from workflow_service.engine.execution import claim_steps, finish_attempts, run_attempt
from workflow_service.neighbours import Neighbours

from .conftest import LEASE, Caller, Work
from .fakes import Platform, problem
from .steps import (
    SAGA,
    claim_step,
    finish_step,
    get_statuses,
    list_bodies,
    post_action,
    refuse_message,
)


def test_cancelling_undoes_what_was_done_newest_first(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    steps = {**SAGA, "three": ask}
    run = starter.start(starter.publish(steps))
    work()

    cancelled = post_action(starter, run, "cancel").json()
    work()

    assert cancelled["status"] == "compensating"
    assert starter.run(run)["status"] == "cancelled"
    assert list_bodies(platform, starter) == ["1", "2", "un2", "un1"]


def test_a_failure_undoes_what_is_done_in_reverse_order_and_only_that(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refuse_message(platform, "3")
    run = starter.start(starter.publish(SAGA, on_failure="compensate"))

    work()

    failed = starter.run(run)
    assert (failed["status"], failed["error"]) == ("failed", "three: communication-service: No")
    assert list_bodies(platform, starter) == ["1", "2", "un2", "un1"]


def test_undoing_is_tried_again_and_what_cannot_be_undone_is_named(
    starter: Caller, platform: Platform, work: Work
) -> None:
    passing = [problem(503, "Not now"), problem(503, "Not now")]

    def before(request: httpx.Request) -> httpx.Response | None:
        if b'"3"' in request.content or b'"un2"' in request.content:
            return problem(400, "No")
        if b'"un1"' in request.content and passing:
            return passing.pop()
        return None

    platform.before = before
    run = starter.start(starter.publish(SAGA, on_failure="compensate"))

    work()

    assert starter.run(run)["error"] == (
        "three: communication-service: No; could not be undone: two"
    )
    assert list_bodies(platform, starter) == ["1", "2", "un1"]


def test_a_worker_that_dies_while_it_undoes_leaves_an_undoing_that_is_done_once(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    refuse_message(platform, "2")
    run = starter.start(starter.publish(SAGA, on_failure="compensate"))
    for _ in "12":
        with session_maker.begin() as session, session.no_autoflush:
            (call,) = claim_steps(session, neighbours, 1, LEASE)
            finish_attempts(session, [(call, run_attempt(call))])
    with session_maker.begin() as session, session.no_autoflush:
        (undoing,) = claim_steps(session, neighbours, 1, timedelta(0))
    run_attempt(undoing)  # and is never heard of again

    work()

    assert (undoing.step.name, undoing.step.role) == ("one", "compensation")
    assert list_bodies(platform, starter) == ["1", "un1"]
    assert starter.run(run)["status"] == "failed"


def test_what_was_under_way_when_the_run_was_cancelled_is_undone_too(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish({"one": SAGA["one"] | {"next": None}}))
    with session_maker.begin() as session, session.no_autoflush:
        (call,) = claim_steps(session, neighbours, 1, LEASE)
    assert post_action(starter, run, "cancel").json()["status"] == "compensating"
    with session_maker.begin() as session, session.no_autoflush:
        finish_attempts(session, [(call, run_attempt(call))])

    work()

    assert list_bodies(platform, starter) == ["1", "un1"]
    assert starter.run(run)["status"] == "cancelled"


@pytest.mark.parametrize(
    "step",
    [
        {"kind": "approval", "with": {"role": "'editor'", "title": "'Well?'"}},
        {"kind": "wait", "with": {"seconds": 9999}},
    ],
)
def test_a_run_that_is_ending_waits_for_no_one_and_no_time(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work, step: dict[str, Any]
) -> None:
    run = starter.start(starter.publish({"one": SAGA["one"], "two": step}))
    one = claim_step(neighbours)
    finish_step(one)
    two = claim_step(neighbours)
    post_action(starter, run, "cancel")
    finish_step(two)

    work()

    assert get_statuses(starter, run)["two"] == "cancelled"
    assert starter.run(run)["status"] == "cancelled"
    assert list_bodies(platform, starter) == ["1", "un1"]
