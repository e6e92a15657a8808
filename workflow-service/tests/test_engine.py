"""The engine: retries, reasons, leases and fences, and that an effect happens once."""

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
from workflow_service.ai.errors import ModelRefused
from workflow_service.ai.prompts import Prompt
from workflow_service.ai.usage import UsageLog
from workflow_service.database import session_maker
from workflow_service.definition.model import Retry
from workflow_service.engine.execution import claim_steps, finish_attempts, run_attempt
from workflow_service.engine.worker import Worker
from workflow_service.neighbours import Neighbours
from workflow_service.steps.protocol import StepAttempt

from .conftest import LEASE, Caller, Work, create_worker
from .fakes import Platform, problem

TELL: dict[str, Any] = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}
MAX_ATTEMPTS = Retry().attempts
AT_ONCE = timedelta(0)  # a lease that has run out when it is given


def types(history: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in history]


def answers(*given: int) -> Callable[[httpx.Request], httpx.Response | None]:
    """Refusals for the first calls, one each."""
    left = list(given)
    return lambda _: problem(left.pop(0), "Not now") if left else None


def test_a_failing_neighbour_is_called_again_later_and_the_effect_happens_once(
    starter: Caller, platform: Platform, work: Work
) -> None:
    platform.before = answers(500, 500)
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
    platform.before = answers(500)
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
    platform.before = answers(status)
    run = starter.start(starter.publish({"tell": TELL}))

    work()

    failed = starter.run(run)
    assert (failed["status"], failed["error"]) == ("failed", "tell: communication-service: Not now")
    assert len(platform.calls) == first + 1


def test_a_conflict_may_be_an_earlier_attempt_at_work_and_is_tried_again(
    starter: Caller, platform: Platform, work: Work
) -> None:
    platform.before = answers(409)
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

    assert "failed unexpectedly (KeyError)" in starter.run(run)["error"]


def claimed(neighbours: Neighbours, lease: timedelta) -> StepAttempt:
    with session_maker.begin() as session, session.no_autoflush:
        (call,) = claim_steps(session, neighbours, 1, lease)
    return call


def settled(call: StepAttempt) -> None:
    outcome = run_attempt(call)
    with session_maker.begin() as session, session.no_autoflush:
        finish_attempts(session, [(call, outcome)])


def test_what_a_frozen_worker_says_late_is_noted_and_not_done(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish({"tell": TELL | {"next": "again"}, "again": TELL}))
    frozen = claimed(neighbours, AT_ONCE)
    other = claimed(neighbours, LEASE)

    settled(other)
    settled(frozen)
    work()

    history = starter.history(run)
    late = [event for event in history if event["type"] == "step.result_discarded"]
    assert other.step.fence == frozen.step.fence + 1
    assert [(event["step"], event["attempt"]) for event in late] == [("tell", 1)]
    assert types(history).count("step.done") == 2
    assert starter.run(run)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 2


def test_a_worker_that_dies_after_its_call_leaves_a_step_that_is_done_again_with_one_effect(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish({"tell": TELL}))
    run_attempt(claimed(neighbours, AT_ONCE))  # and is never heard of again

    work()

    assert starter.run(run)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 1


def test_a_step_that_kills_every_worker_is_given_up(
    starter: Caller, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish({"tell": TELL}))
    for _ in range(MAX_ATTEMPTS):
        claimed(neighbours, AT_ONCE)

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
        assert types(starter.history(run)).count("step.done") == 5


def test_threads_that_begin_together_share_one_worker() -> None:
    celery_app.build_worker.cache_clear()

    with ThreadPoolExecutor(4) as threads:
        workers = {*threads.map(lambda _: celery_app.get_worker(), range(4))}

    assert len(workers) == 1


def test_a_starter_who_loses_the_rights_fails_the_next_step(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work, login: Callable[..., Caller]
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    admin = login("*")
    run = starter.start(starter.publish({"ask": ask | {"next": "tell"}, "tell": TELL}))
    work()
    (person,) = [p for p in platform.identity.contacts if p == starter.user_id]
    platform.identity.answers = {
        token: answer
        for token, answer in platform.identity.answers.items()
        if answer["user_id"] != person
    }
    (task,) = reviewer.tasks()
    reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})

    work()

    assert admin.run(run)["error"] == "tell: identity-service: This user is not active"


APPROVAL = {"kind": "approval", "with": {"role": "'editor'", "title": "'Well?'"}}
SUMMARY = {"kind": "ai.summarize", "with": {"text": "'A text.'"}}
CALL = {"kind": "http", "with": {"url": "'http://127.0.0.2:9/'"}}


@pytest.mark.parametrize(
    ("step", "lost"),
    [(APPROVAL, "workflows:start"), (CALL, "workflows:start"), (SUMMARY, "ai:use")],
)
def test_a_step_that_asks_no_neighbour_ends_too_when_the_starter_lost_the_permission_for_it(
    starter: Caller, platform: Platform, work: Work, step: dict[str, Any], lost: str
) -> None:
    run = starter.start(starter.publish({"one": step}))
    for answer in platform.identity.answers.values():
        if answer["user_id"] == starter.user_id:
            answer["permissions"].remove(lost)

    work()

    reason = f"The starter of the run does not have the permission {lost} any more"
    assert starter.run(run)["error"] == f"one: {reason}"


@pytest.mark.parametrize("step", [APPROVAL, CALL, SUMMARY])
def test_a_step_that_asks_no_neighbour_ends_too_when_the_starter_is_not_active(
    starter: Caller, platform: Platform, work: Work, login: Callable[..., Caller],
    step: dict[str, Any],
) -> None:  # fmt: skip
    run = starter.start(starter.publish({"one": step}))
    answers = platform.identity.answers
    platform.identity.answers = {
        token: answer for token, answer in answers.items() if answer["user_id"] != starter.user_id
    }

    work()

    failed = login("*").run(run)
    assert failed["error"] == "one: identity-service: This user is not active"


def test_an_input_that_cannot_be_worked_out_fails_the_run_with_the_place(
    starter: Caller, work: Work
) -> None:
    steps = {"tell": TELL | {"with": TELL["with"] | {"body": "input.missing"}}}
    run = starter.start(starter.publish(steps))

    failed = starter.run(run)

    assert failed["status"] == "failed"
    assert failed["error"].startswith("tell: steps.tell.with.body: input.missing has no value")


def test_an_input_of_the_wrong_type_fails_the_step_with_the_field(
    starter: Caller, work: Work
) -> None:
    steps = {"tell": TELL | {"with": TELL["with"] | {"recipient_id": "'unknown'"}}}
    run = starter.start(starter.publish(steps))

    work()

    assert starter.run(run)["error"].startswith("tell: with.recipient_id: Input should be a valid")


def test_a_condition_without_a_value_fails_the_branch(starter: Caller, work: Work) -> None:
    fork = {"kind": "branch", "choices": [{"when": "input.missing == 1", "next": "tell"}]}
    run = starter.start(starter.publish({"fork": fork, "tell": TELL}))

    work()

    assert starter.run(run)["error"].startswith("fork: input.missing == 1 has no value")


def test_an_output_without_a_value_fails_the_run(starter: Caller, work: Work) -> None:
    run = starter.start(starter.publish({"tell": TELL}, output={"n": "steps.tell.nothing"}))

    work()

    assert starter.run(run)["error"].startswith("output.n: steps.tell.nothing has no value")


def test_a_branch_takes_the_first_choice_that_is_true(starter: Caller, work: Work) -> None:
    fork = {
        "kind": "branch",
        "choices": [
            {"when": "input.n > 10", "next": "big"},
            {"when": "input.n > 5", "next": "middle"},
        ],
        "otherwise": "small",
    }
    steps = {"fork": fork, "big": TELL, "middle": TELL, "small": TELL}
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    name = starter.publish(steps, input=schema)
    runs = {n: starter.start(name, n=n) for n in (11, 10, 5)}

    work()

    taken = {n: starter.run(run)["steps"][1]["name"] for n, run in runs.items()}
    assert taken == {11: "big", 10: "middle", 5: "small"}


def test_a_run_stays_with_the_version_it_was_started_with(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    name = starter.publish({"ask": ask}, output={"version": "1"})
    run = starter.start(name)
    work()
    new = {"title": "Test", "start": "ask", "steps": {"ask": ask}, "output": {"version": "2"}}
    assert starter.put(f"/definitions/{name}", json=new).json()["version"] == 2

    (task,) = reviewer.tasks()
    reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
    work()

    assert starter.run(run)["output"] == {"version": 1}
    assert starter.start(name)["version"] == 2


def test_a_condition_that_is_no_condition_fails_the_branch(starter: Caller, work: Work) -> None:
    fork = {"kind": "branch", "choices": [{"when": "'yes'", "next": "tell"}]}
    run = starter.start(starter.publish({"fork": fork, "tell": TELL}))

    work()

    assert starter.run(run)["error"] == "fork: 'yes' is neither true nor false"


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
        settled(claimed(replace(neighbours, models=Failing(failure)), LEASE))

    (again,) = starter.run(busy)["steps"]
    waits = datetime.fromisoformat(again["run_at"]) - datetime.fromisoformat(again["created_at"])
    assert starter.run(refused)["error"] == "sum: openai refused: no credit"
    assert again["error"] == "openai: openai is busy or failing"
    assert waits > timedelta(seconds=6)
