"""Attempts: retried, claimed by several workers, and done once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from chassis.errors import Unavailable
from workflow_service import celery_app
from workflow_service.ai.client import ModelAnswer, ModelClient
from workflow_service.ai.prompts import Prompt
from workflow_service.ai.providers import ModelRefused
from workflow_service.ai.usage import UsageLog
from workflow_service.definition.model import StepRetryPolicy
from workflow_service.engine.execution import run_attempt
from workflow_service.engine.worker import Worker
from workflow_service.neighbours import Neighbours

from .conftest import LEASE, Caller, Work, create_worker
from .fakes import Platform, problem
from .steps import TELL, claim_step, finish_step

MAX_ATTEMPTS = StepRetryPolicy().attempts


EXPIRED_LEASE = timedelta(0)  # a lease that has run out when it is given


def list_types(history: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in history]


def refuse_first(*given: int) -> Callable[[httpx.Request], httpx.Response | None]:
    """Refusals for the first calls, one each."""
    left = list(given)
    return lambda _: problem(left.pop(0), "Not now") if left else None


def test_a_failing_neighbour_is_called_again_later_and_the_effect_happens_once(
    starter: Caller, platform: Platform, work: Work
) -> None:
    platform.before = refuse_first(500, 500)
    run = starter.start(starter.publish({"tell": TELL}))

    work()

    history = starter.history(run)
    retries = [event for event in history if event["type"] == "step.retrying"]
    assert [event["attempt"] for event in retries] == [1, 2]
    assert retries[0]["data"]["error"] == "communication-service: communication-service failed"
    assert starter.run(run)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 1


def test_a_pause_grows_with_every_attempt(
    starter: Caller, platform: Platform, worker: Worker
) -> None:
    platform.before = refuse_first(500)
    run = starter.start(starter.publish({"tell": TELL}))

    worker.work()

    (step,) = starter.run(run)["steps"]
    assert (step["status"], step["attempts"]) == ("pending", 1)
    assert step["error"] == "communication-service: communication-service failed"
    assert step["run_at"] > step["created_at"]


@pytest.mark.parametrize("status", [400, 403, 404, 412, 422])
def test_a_refusal_fails_the_run_at_the_first_attempt_with_the_reason(
    starter: Caller, platform: Platform, work: Work, status: int
) -> None:
    first = len(platform.calls)
    platform.before = refuse_first(status)
    run = starter.start(starter.publish({"tell": TELL}))

    work()

    failed = starter.run(run)
    assert (failed["status"], failed["error"]) == ("failed", "tell: communication-service: Not now")
    assert len(platform.calls) == first + 1


def test_a_conflict_may_be_an_earlier_attempt_at_work_and_is_tried_again(
    starter: Caller, platform: Platform, work: Work
) -> None:
    platform.before = refuse_first(409)
    run = starter.start(starter.publish({"tell": TELL}))

    work()

    assert starter.run(run)["status"] == "completed"


def test_after_many_attempts_the_run_fails_with_the_last_reason(
    starter: Caller, platform: Platform, work: Work
) -> None:
    platform.before = lambda _: problem(500, "Broken")
    run = starter.start(starter.publish({"tell": TELL}))

    work()

    failed = starter.run(run)
    assert failed["status"] == "failed"
    assert failed["error"].endswith("given up after 12 attempts")


def test_an_answer_that_makes_no_sense_is_a_failed_attempt(
    starter: Caller, platform: Platform, work: Work
) -> None:
    platform.before = lambda _: httpx.Response(202, json={"sense": None})
    run = starter.start(starter.publish({"tell": TELL}))

    work()

    assert "sent an unexpected response: id" in starter.run(run)["error"]


def test_an_error_that_was_not_foreseen_is_a_failed_attempt(
    starter: Caller, platform: Platform, work: Work
) -> None:
    def fail(_: httpx.Request) -> None:
        raise LookupError("not foreseen")

    platform.before = fail
    run = starter.start(starter.publish({"tell": TELL}))

    work()

    assert "failed unexpectedly (LookupError)" in starter.run(run)["error"]


def test_what_a_frozen_worker_says_late_is_noted_and_not_done(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish({"tell": TELL | {"next": "again"}, "again": TELL}))
    frozen = claim_step(neighbours, EXPIRED_LEASE)
    other = claim_step(neighbours, LEASE)

    finish_step(other)
    finish_step(frozen)
    work()

    history = starter.history(run)
    late = [event for event in history if event["type"] == "step.result_discarded"]
    assert other.step.fence == frozen.step.fence + 1
    assert [(event["step"], event["attempt"]) for event in late] == [("tell", 1)]
    assert list_types(history).count("step.done") == 2
    assert starter.run(run)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 2


def test_a_worker_that_dies_after_its_call_leaves_a_step_that_is_done_again_with_one_effect(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish({"tell": TELL}))
    run_attempt(claim_step(neighbours, EXPIRED_LEASE))  # and is never heard of again

    work()

    assert starter.run(run)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 1


def test_a_step_that_kills_every_worker_is_given_up(
    starter: Caller, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish({"tell": TELL}))
    for _ in range(MAX_ATTEMPTS):
        claim_step(neighbours, EXPIRED_LEASE)

    work()

    assert starter.run(run)["error"] == "tell: every worker that tried it crashed or hung"


def test_many_workers_share_the_work_and_do_each_step_once(
    starter: Caller, platform: Platform, neighbours: Neighbours
) -> None:
    steps = {f"s{n}": TELL | {"next": f"s{n + 1}"} for n in range(4)} | {"s4": TELL}
    name = starter.publish(steps)
    runs = [starter.start(name) for _ in range(5)]

    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(create_worker(neighbours).work)

    assert {starter.run(run)["status"] for run in runs} == {"completed"}
    assert len(platform.communication.to(starter.user_id)) == 25
    for run in runs:
        assert list_types(starter.history(run)).count("step.done") == 5


def test_threads_that_begin_together_share_one_worker() -> None:
    celery_app.build_worker.cache_clear()

    with ThreadPoolExecutor(4) as threads:
        workers = {*threads.map(lambda _: celery_app.get_worker(), range(4))}

    assert len(workers) == 1


def test_a_reason_that_cannot_be_stored_is_stored_in_part(
    starter: Caller, platform: Platform, work: Work
) -> None:
    odd = b'{"detail": "odd \\u0000 \\ud800 ' + b"long " * 1000 + b'"}'
    platform.before = lambda _: httpx.Response(422, content=odd)
    run = starter.start(starter.publish({"tell": TELL}))

    work()

    error = starter.run(run)["error"]
    assert error.startswith("tell: communication-service: odd  ? long")
    assert len(error) < 2100


def test_a_model_that_refuses_fails_the_run_and_a_busy_one_is_called_again(
    starter: Caller, neighbours: Neighbours
) -> None:
    class Failing(ModelClient):
        def __init__(self, failure: Exception) -> None:
            self.failure = failure

        def complete(self, prompt: Prompt, usage: UsageLog) -> ModelAnswer:
            raise self.failure

    refusal = ModelRefused("openai refused: no credit", target="openai")
    busyness = Unavailable("openai is busy or failing", retry_after=7, target="openai")
    step = {"kind": "ai.summarize", "with": {"text": "'A text.'"}}
    refused, busy = (starter.start(starter.publish({"sum": step})) for _ in range(2))

    for failure in (refusal, busyness):
        finish_step(claim_step(replace(neighbours, models=Failing(failure)), LEASE))

    (again,) = starter.run(busy)["steps"]
    waits = datetime.fromisoformat(again["run_at"]) - datetime.fromisoformat(again["created_at"])
    assert starter.run(refused)["error"] == "sum: openai refused: no credit"
    assert again["error"] == "openai: openai is busy or failing"
    assert waits > timedelta(seconds=6)
