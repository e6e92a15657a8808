"""The main job: a document is read, summarised and reviewed, and its author is notified."""

from typing import Any

import pytest

from .conftest import Caller, Work
from .fakes import Platform


def started(starter: Caller, reviewer: Caller, platform: Platform) -> dict[str, Any]:
    document_id = platform.content.add(starter.user_id)
    given = {"document_id": document_id, "reviewer_id": reviewer.user_id}
    return starter.start("document-review", **given)


def test_the_run_waits_for_the_reviewer_who_sees_title_and_summary(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    run = started(starter, reviewer, platform)

    work()

    (task,) = reviewer.tasks()
    assert starter.run(run)["status"] == "waiting"
    assert (task["workflow_id"], task["status"]) == (run["id"], "open")
    assert task["title"] == "Review: Closing the mill"
    assert task["subject"]["document_id"] == run["input"]["document_id"]
    assert "mill race" in task["subject"]["summary"]


def test_the_reviewer_can_read_the_document_and_is_notified_once(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    run = started(starter, reviewer, platform)

    work()

    (told,) = platform.communication.to(reviewer.user_id)
    (task,) = reviewer.tasks()
    assert platform.content.levels[run["input"]["document_id"], reviewer.user_id] == "read"
    assert told["template"] == "review-requested"
    assert told["variables"] == {
        "document_title": "Closing the mill",
        "summary": task["subject"]["summary"],
        "task_id": task["id"],
    }


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_the_decision_ends_the_run_and_its_starter_is_notified(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work, decision: str
) -> None:
    run = started(starter, reviewer, platform)
    work()

    (task,) = reviewer.tasks()
    decided = reviewer.post(
        f"/tasks/{task['id']}/complete", json={"decision": decision, "comment": "Fair."}
    )
    work()

    (told,) = platform.communication.to(starter.user_id)
    ended = starter.run(run)
    assert decided.status_code == 200
    assert decided.json()["status"] == "completed"
    assert ended["status"] == "completed"
    assert ended["output"]["decision"] == decision
    assert told["template"] == "review-decided"
    assert told["variables"]["decision"] == {"approve": "approved", "reject": "rejected"}[decision]
    assert told["variables"]["comment"] == "Fair."


def test_every_call_carries_the_starters_rights_the_runs_trace_and_a_key(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    run = started(starter, reviewer, platform)
    first = len(platform.calls)

    work()

    calls = [c for c in platform.calls[first:] if c.headers["X-Trace-ID"] == run["trace_id"]]
    answers = platform.identity.answers
    tokens = {c.headers["Authorization"].removeprefix("Bearer ") for c in calls}
    path = f"/workflows/{run['id']}/steps?role="
    found = [
        step for role in ("work", "notice") for step in starter.get(path + role).json()["items"]
    ]
    steps = {step["id"]: step["name"].partition("_notice")[0] for step in found}
    keys = {steps[c.headers["Idempotency-Key"]] for c in calls if c.method in ("POST", "PUT")}
    assert {answers[token]["user_id"] for token in tokens} == {starter.user_id}
    assert {answers[token]["actor"] for token in tokens} == {"workflow-service"}
    assert {call.headers["X-Service-Name"] for call in calls} == {"workflow-service"}
    assert keys == {"extract", "share", "review"}


def test_processing_is_requested_once_and_then_waited_for(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    run = started(starter, reviewer, platform)
    first = len(platform.calls)

    work()

    document = f"/api/v1/documents/{run['input']['document_id']}"
    asked = [(c.method, c.url.path) for c in platform.calls[first:]]
    assert asked.count(("POST", f"{document}/process")) == 1
    assert asked.count(("GET", f"{document}/processing")) >= platform.content.pace
    assert [e["type"] for e in starter.history(run)].count(
        "step.rescheduled"
    ) == platform.content.pace


def test_the_history_tells_the_whole_story_in_order(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    run = started(starter, reviewer, platform)
    work()
    (task,) = reviewer.tasks()
    reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
    work()

    history = starter.history(run)

    done = [e["step"] for e in history if e["type"] == "step.done" and "role" not in e["data"]]
    decided = next(e for e in history if e["type"] == "step.done" and e["step"] == "review")
    assert (history[0]["type"], history[0]["actor_id"]) == ("run.started", starter.user_id)
    assert history[-1]["type"] == "run.completed"
    assert done == [
        "document", "extract", "summarize", "share", "review", "decision", "notify_approved"
    ]  # fmt: skip
    assert decided["actor_id"] == reviewer.user_id
    assert [event["type"] for event in history if event["step"] == "share"] == [
        "step.ready", "step.started", "step.done"
    ]  # fmt: skip


def test_sharing_takes_nothing_away_from_who_may_do_more(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    document_id = platform.content.add(starter.user_id)
    platform.content.levels[document_id, reviewer.user_id] = "manage"

    starter.start("document-review", document_id=document_id, reviewer_id=reviewer.user_id)
    work()

    assert platform.content.levels[document_id, reviewer.user_id] == "manage"
    assert reviewer.tasks()


def test_a_document_the_starter_may_not_see_fails_the_run_with_the_reason(
    starter: Caller, reviewer: Caller, stranger: Caller, platform: Platform, work: Work
) -> None:
    document_id = platform.content.add(stranger.user_id)

    run = starter.start("document-review", document_id=document_id, reviewer_id=reviewer.user_id)
    work()

    failed = starter.run(run)
    assert failed["status"] == "failed"
    assert failed["error"] == "document: content-service: There is no such document"


def test_a_document_that_cannot_be_processed_fails_the_run_with_the_reason(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    document_id = platform.content.add(starter.user_id)
    platform.content.broken.add(document_id)

    run = starter.start("document-review", document_id=document_id, reviewer_id=reviewer.user_id)
    work()

    assert "the file is damaged" in starter.run(run)["error"]
