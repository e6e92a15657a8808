"""Pausing, cancelling, undoing, retrying, rerunning: what becomes of a run under way."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from workflow_service.database import session_maker
from workflow_service.engine.execution import claim_steps, finish_attempts, run_attempt
from workflow_service.engine.worker import Worker
from workflow_service.neighbours import Neighbours
from workflow_service.steps.protocol import StepAttempt

from .conftest import LEASE, Caller, Work, make_waiting_steps_due
from .fakes import Platform, problem


def tell(body: str, **more: Any) -> dict[str, Any]:
    about = {"recipient_id": "run.started_by", "subject": "'S'", "body": f"'{body}'"}
    return {"kind": "communication.notify", "with": about, **more}


def undo(body: str) -> dict[str, Any]:
    return {key: value for key, value in tell(body).items() if key in ("kind", "with")}


def said(platform: Platform, person: Caller) -> list[str]:
    return [message["body"] for message in platform.communication.to(person.user_id)]


def refusing(platform: Platform, body: str, status: int = 400) -> None:
    """Refuses requests that contain this text."""
    marked = f'"{body}"'.encode()
    platform.before = lambda request: (
        problem(status, "No") if marked in request.content.replace(b'": "', b'":"') else None
    )


def post(caller: Caller, run: dict[str, Any], verb: str, **body: Any) -> Any:
    return caller.post(f"/workflows/{run['id']}/{verb}", json=body or None)


def statuses(caller: Caller, run: dict[str, Any]) -> dict[str, str]:
    return {step["path"]: step["status"] for step in caller.run(run)["steps"]}


TWO = {"one": tell("1", next="two"), "two": tell("2")}
SAGA = {
    "one": tell("1", next="two", undo=undo("un1")),
    "two": tell("2", next="three", undo=undo("un2")),
    "three": tell("3", undo=undo("un3")),
}


# -- pause and resume ---------------------------------------------------------------------------


def test_nothing_starts_while_a_run_is_paused_and_everything_after(
    starter: Caller, platform: Platform, work: Work
) -> None:
    run = starter.start(starter.publish(TWO))

    answers = [post(starter, run, "pause") for _ in range(2)]
    work()

    assert [(a.status_code, a.json()["status"]) for a in answers] == [(200, "paused")] * 2
    assert said(platform, starter) == []
    for _ in range(2):
        assert post(starter, run, "resume").json()["status"] == "running"
    work()
    assert said(platform, starter) == ["1", "2"]


def test_a_step_that_is_under_way_when_its_run_is_paused_ends_and_the_next_one_waits(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish(TWO))
    with session_maker.begin() as session, session.no_autoflush:
        (call,) = claim_steps(session, neighbours, 1, LEASE)
    post(starter, run, "pause")
    with session_maker.begin() as session, session.no_autoflush:
        finish_attempts(session, [(call, run_attempt(call))])
    work()

    assert statuses(starter, run) == {"one": "done", "two": "held"}
    assert starter.run(run)["status"] == "paused"
    post(starter, run, "resume")
    work()
    assert starter.run(run)["status"] == "completed"


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_a_run_that_has_ended_cannot_be_moved(starter: Caller, work: Work, verb: str) -> None:
    run = starter.start(starter.publish({"one": tell("1")}))
    work()

    refused = post(starter, run, verb)

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

    codes = [post(other, run, verb, **body).status_code for other in (reviewer, stranger)]

    assert codes == [403, 404]


# -- cancel and undo ----------------------------------------------------------------------------


def test_a_cancelled_run_ends_and_its_task_is_closed_and_told(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    run = starter.start(starter.publish({"ask": ask}))
    work()

    answers = [post(starter, run, "cancel") for _ in range(2)]
    work()

    (task,) = reviewer.tasks()
    assert [(a.status_code, a.json()["status"]) for a in answers] == [(200, "cancelled")] * 2
    assert (task["status"], task["reason"]) == ("closed", "It is not needed any more")
    assert "need not decide any more" in said(platform, reviewer)[1]
    closed = reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
    assert closed.status_code == 409


def test_cancelling_undoes_what_was_done_newest_first(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    steps = {**SAGA, "three": ask}
    run = starter.start(starter.publish(steps))
    work()

    cancelled = post(starter, run, "cancel").json()
    work()

    assert cancelled["status"] == "compensating"
    assert starter.run(run)["status"] == "cancelled"
    assert said(platform, starter) == ["1", "2", "un2", "un1"]


def test_a_failure_undoes_what_is_done_in_reverse_order_and_only_that(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refusing(platform, "3")
    run = starter.start(starter.publish(SAGA, on_failure="compensate"))

    work()

    failed = starter.run(run)
    assert (failed["status"], failed["error"]) == ("failed", "three: communication-service: No")
    assert said(platform, starter) == ["1", "2", "un2", "un1"]


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
    assert said(platform, starter) == ["1", "2", "un1"]


def test_a_worker_that_dies_while_it_undoes_leaves_an_undoing_that_is_done_once(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    refusing(platform, "2")
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
    assert said(platform, starter) == ["1", "un1"]
    assert starter.run(run)["status"] == "failed"


def test_what_was_under_way_when_the_run_was_cancelled_is_undone_too(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    run = starter.start(starter.publish({"one": SAGA["one"] | {"next": None}}))
    with session_maker.begin() as session, session.no_autoflush:
        (call,) = claim_steps(session, neighbours, 1, LEASE)
    assert post(starter, run, "cancel").json()["status"] == "compensating"
    with session_maker.begin() as session, session.no_autoflush:
        finish_attempts(session, [(call, run_attempt(call))])

    work()

    assert said(platform, starter) == ["1", "un1"]
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
    one = claimed_alone(neighbours)
    settled(one)
    two = claimed_alone(neighbours)
    post(starter, run, "cancel")
    settled(two)

    work()

    assert statuses(starter, run)["two"] == "cancelled"
    assert starter.run(run)["status"] == "cancelled"
    assert said(platform, starter) == ["1", "un1"]


def claimed_alone(neighbours: Neighbours) -> StepAttempt:
    with session_maker.begin() as session, session.no_autoflush:
        (call,) = claim_steps(session, neighbours, 1, LEASE)
    return call


def settled(call: StepAttempt) -> None:
    with session_maker.begin() as session, session.no_autoflush:
        finish_attempts(session, [(call, run_attempt(call))])


def test_cancelling_a_run_cancels_the_runs_that_it_started(starter: Caller, work: Work) -> None:
    child = starter.publish({"nap": {"kind": "wait", "with": {"seconds": 9999}}})
    call = {"kind": "workflow", "with": {"definition": f"'{child}'"}}
    run = starter.start(starter.publish({"call": call}))
    work()

    post(starter, run, "cancel")

    listed = starter.get("/workflows").json()["items"]
    assert {item["status"] for item in listed} == {"cancelled"}


# -- retries and reruns ------------------------------------------------------------------------


def test_a_retry_goes_on_at_the_step_that_failed_with_its_key_and_repeats_nothing(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refusing(platform, "2")
    run = starter.start(starter.publish(TWO))
    work()
    platform.before = lambda _: None
    first = len(platform.calls)

    retried = post(starter, run, "retry", version="pinned")
    work()

    again = retried.json()
    keys = [c.headers["Idempotency-Key"] for c in platform.calls if c.method == "POST"]
    assert (retried.status_code, again["retry_of"]) == (201, run["id"])
    assert starter.run(again)["status"] == "completed"
    assert starter.run(run)["status"] == "failed"
    assert said(platform, starter) == ["1", "2"]
    assert len(platform.calls) == first + 1
    assert keys[-1] == keys[-2]
    assert statuses(starter, again) == {"one": "done", "two": "done"}


def test_a_retry_goes_on_in_the_lane_that_failed(
    starter: Caller, platform: Platform, work: Work
) -> None:
    schema = {"type": "object", "properties": {"items": {"type": "array",
              "items": {"type": "string"}}}}  # fmt: skip
    one = tell("x") | {"with": {**tell("x")["with"], "body": "item"}, "next": "two"}
    steps = {
        "each": {"kind": "foreach", "with": {"items": "input.items", "limit": 1}, "do": "one"},
        "one": one,
        "two": {"kind": "set", "with": {"values": {"said": "item"}}},
    }
    refusing(platform, "b")
    run = starter.start(
        starter.publish(steps, input=schema, output={"all": "steps.each.items"}),
        items=["a", "b", "c"],
    )
    work()
    platform.before = lambda _: None

    again = post(starter, run, "retry", version="pinned").json()
    work()

    assert starter.run(again)["output"] == {"all": [{"said": text} for text in "abc"]}
    assert said(platform, starter) == ["a", "b", "c"]


BOTH: dict[str, Any] = {"kind": "parallel", "branches": {"a": "a1", "b": "b1"}}
NAP: dict[str, Any] = {"kind": "wait", "with": {"seconds": 9999}}


def test_a_wait_in_a_retried_lane_stops_no_timer_of_any_run(
    starter: Caller, platform: Platform, worker: Worker, work: Work
) -> None:
    refusing(platform, "bad")
    other = starter.start(starter.publish({"nap": NAP}))
    run = starter.start(starter.publish({"both": BOTH, "a1": NAP, "b1": tell("bad")}))
    work()
    platform.before = lambda _: None

    again = post(starter, run, "retry", version="pinned").json()
    worker.work()
    make_waiting_steps_due(run_id=other["id"])
    worker.work()

    assert starter.run(other)["status"] == "completed"
    assert statuses(starter, again) == {
        "both": "waiting", "both.a/a1": "waiting", "both.b/b1": "done"
    }  # fmt: skip
    make_waiting_steps_due(run_id=again["id"], name="a1")
    worker.work()
    assert starter.run(again)["status"] == "completed"


@pytest.mark.parametrize("more", [{"next": "a2"}, {}])
def test_a_retry_goes_on_in_lanes_that_were_under_way_when_the_run_was_cancelled(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work, more: dict[str, str]
) -> None:
    """What is under way ends, since it may have to be undone; what follows it never began."""
    steps = {"both": {**BOTH, "next": "end"}, "a1": tell("a1", **more), "b1": tell("b1")}
    steps |= {"end": tell("end", undo=undo("un"))} | ({"a2": tell("a2")} if more else {})
    run = starter.start(starter.publish(steps))
    with session_maker.begin() as session, session.no_autoflush:
        calls = claim_steps(session, neighbours, 2, LEASE)
    post(starter, run, "cancel")
    for call in calls:
        settled(call)
    work()
    assert starter.run(run)["status"] == "cancelled"

    again = post(starter, run, "retry", version="pinned").json()
    work()

    assert starter.run(again)["status"] == "completed"
    assert set(statuses(starter, again).values()) == {"done"}
    assert sorted(said(platform, starter)) == sorted(["a1", "b1", "end", *more.values()])


def test_a_retry_goes_on_in_the_run_that_a_step_had_started(
    starter: Caller, platform: Platform, work: Work
) -> None:
    child = starter.publish({**TWO, "two": tell("2", next="nap"), "nap": NAP})
    call = {"kind": "workflow", "with": {"definition": f"'{child}'"}}
    refusing(platform, "2")
    run = starter.start(starter.publish({"call": call}))
    work()
    platform.before = lambda _: None

    again = post(starter, run, "retry", version="pinned").json()
    work()
    (launched,) = [e for e in starter.history(again) if e["type"] == "step.child_started"]
    assert statuses(starter, again) == {"call": "waiting"}
    make_waiting_steps_due(run_id=launched["data"]["workflow_id"])
    work()

    assert starter.run(again)["status"] == "completed"
    assert said(platform, starter) == ["1", "2"]


def test_a_retry_takes_what_a_run_gave_that_had_ended_well(
    starter: Caller, platform: Platform, neighbours: Neighbours, work: Work
) -> None:
    refusing(platform, "bad")
    child = starter.publish({"one": tell("1")}, output={"n": "7"})
    call = {"kind": "workflow", "with": {"definition": f"'{child}'"}}
    steps = {"both": BOTH, "a1": call, "b1": tell("bad")}
    run = starter.start(starter.publish(steps, output={"n": "steps.both.a.output.n"}))
    with session_maker.begin() as session, session.no_autoflush:
        calls = claim_steps(session, neighbours, 2, LEASE)
    for each in sorted(calls, key=lambda call: call.run.definition != child):
        settled(each)
    assert starter.run(run)["status"] == "failed"
    platform.before = lambda _: None

    again = post(starter, run, "retry", version="pinned").json()
    work()

    assert starter.run(again)["output"] == {"n": 7}
    assert said(platform, starter) == ["1", "bad"]


def test_a_retry_with_the_latest_version_works_out_the_input_anew(
    starter: Caller, work: Work
) -> None:
    broken = {"one": {"kind": "set", "with": {"values": {"n": "input.missing"}}}}
    name = starter.publish(broken, output={"n": "steps.one.n"})
    run = starter.start(name)
    corrected = {"one": {"kind": "set", "with": {"values": {"n": "7"}}}}
    new = {"title": "T", "start": "one", "steps": corrected, "output": {"n": "steps.one.n"}}
    assert starter.put(f"/definitions/{name}", json=new).status_code == 200

    pinned = post(starter, run, "retry", version="pinned").json()
    latest = post(starter, run, "retry", version="latest").json()
    work()

    assert starter.run(pinned)["status"] == "failed"
    assert (starter.run(latest)["output"], latest["version"]) == ({"n": 7}, 2)


def test_a_run_that_was_undone_is_retried_from_the_start(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refusing(platform, "3")
    run = starter.start(starter.publish(SAGA, on_failure="compensate"))
    work()
    platform.before = lambda _: None

    again = post(starter, run, "retry", version="pinned").json()
    work()

    assert starter.run(again)["status"] == "completed"
    assert said(platform, starter) == ["1", "2", "un2", "un1", "1", "2", "3"]


def test_a_rerun_from_a_step_keeps_what_came_before_and_asks_no_model_again(
    starter: Caller, platform: Platform, work: Work
) -> None:
    steps = {
        "sum": {"kind": "ai.summarize", "with": {"text": "'The mill is old.'"}, "next": "say"},
        "say": tell("x") | {"with": {**tell("x")["with"], "body": "steps.sum.summary"}},
    }
    run = starter.start(starter.publish(steps))
    work()

    again = post(starter, run, "rerun", from_step="say").json()
    work()

    found = starter.run(again)
    assert (found["status"], found["retry_of"]) == ("completed", run["id"])
    assert said(platform, starter) == ["The mill is old."] * 2
    assert (starter.run(run)["usage"]["calls"], found["usage"]["calls"]) == (1, 0)
    copied = [e for e in starter.history(again) if e["type"] == "step.copied"]
    assert [event["step"] for event in copied] == ["sum"]


def test_a_rerun_takes_nothing_for_done_that_was_undone(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refusing(platform, "3")
    run = starter.start(starter.publish(SAGA, on_failure="compensate"))
    work()

    refused = post(starter, run, "rerun", from_step="three")
    from_the_start = post(starter, run, "rerun", version="pinned")

    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"field": "from_step", "message": "two, which comes before it, was undone"}
    ]
    assert from_the_start.status_code == 201


def test_a_rerun_from_the_start_repeats_everything(
    starter: Caller, platform: Platform, work: Work
) -> None:
    run = starter.start(starter.publish(TWO))
    work()

    again = post(starter, run, "rerun", version="latest").json()
    work()

    assert starter.run(again)["status"] == "completed"
    assert said(platform, starter) == ["1", "2"] * 2


def test_a_step_that_the_run_did_not_come_to_is_refused_by_name(
    starter: Caller, work: Work
) -> None:
    run = starter.start(starter.publish(TWO))
    work()

    refused = post(starter, run, "rerun", from_step="nowhere")

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "from_step"


def test_a_run_that_is_under_way_or_complete_is_not_retried(starter: Caller, work: Work) -> None:
    run = starter.start(starter.publish(TWO))
    early = post(starter, run, "retry", version="pinned")
    work()
    late = post(starter, run, "retry", version="pinned")

    assert (early.status_code, late.status_code) == (409, 409)


# -- business keys ------------------------------------------------------------------------------


def test_a_business_key_in_use_gives_the_run_that_has_it(
    starter: Caller, stranger: Caller, work: Work
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    name = starter.publish({"one": tell("1")}, input=schema)
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
    refusing(platform, "1")
    new = {"definition": starter.publish({"one": tell("1")}), "business_key": "order-8"}
    run = starter.post("/workflows", json=new).json()
    work()
    platform.before = lambda _: None

    again = post(starter, run, "retry", version="pinned").json()

    assert again["business_key"] == "order-8"
    assert starter.post("/workflows", json=new).json()["id"] == again["id"]
    refused = post(starter, run, "retry", version="pinned")
    assert (refused.status_code, refused.json()["code"]) == (409, "BusinessKeyTaken")
