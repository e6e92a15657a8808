"""Starting, listing, cancelling and retrying runs; deciding tasks."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from workflow_service.database import session_maker
from workflow_service.engine import worker
from workflow_service.neighbours import Neighbours

from .conftest import LEASE, Caller, Platform, Work, problem

TELL: dict[str, Any] = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}


def ask(reviewer: Caller, **more: Any) -> dict[str, Any]:
    inputs = {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'", **more}
    return {"kind": "approval", "with": inputs}


def test_a_start_with_a_key_happens_once(starter: Caller) -> None:
    new = {"definition": starter.publish({"tell": TELL})}
    headers = {"Idempotency-Key": "once"}

    first, second = (starter.post("/workflows", json=new, headers=headers) for _ in range(2))
    other = starter.post("/workflows", json=new | {"input": {"a": 1}}, headers=headers)

    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert other.status_code == 422
    assert len(starter.get("/workflows").json()["items"]) == 1


def test_a_business_key_starts_a_definition_once_for_each_starter(
    starter: Caller, stranger: Caller
) -> None:
    new = {"definition": starter.publish({"tell": TELL}), "business_key": "order 7"}

    first, second = (starter.post("/workflows", json=new) for _ in range(2))
    somebody_elses = stranger.post("/workflows", json=new)

    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["code"] == "AlreadyStarted"
    assert somebody_elses.status_code == 201


def test_a_run_has_the_trace_of_the_request_that_started_it(starter: Caller) -> None:
    new = {"definition": starter.publish({"tell": TELL})}

    run = starter.post("/workflows", json=new, headers={"X-Trace-ID": "a-trace-of-mine"}).json()

    assert run["trace_id"] == "a-trace-of-mine"


def test_runs_are_listed_newest_first_by_status_and_page(starter: Caller, work: Work) -> None:
    name = starter.publish({"tell": TELL})
    done = [starter.start(name)["id"] for _ in range(3)]
    work()
    running = starter.start(name)["id"]

    page = starter.get("/workflows?limit=2").json()
    rest = starter.get(f"/workflows?limit=2&cursor={page['next_cursor']}").json()
    completed = starter.get("/workflows?status=completed").json()

    ids = [item["id"] for item in [*page["items"], *rest["items"]]]
    assert ids == [running, *reversed(done)]
    assert rest["next_cursor"] is None
    assert [item["id"] for item in completed["items"]] == list(reversed(done))


def test_a_cancelled_run_does_nothing_more_and_closes_its_task(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    run = starter.start(starter.publish({"ask": ask(reviewer) | {"next": "tell"}, "tell": TELL}))
    work()

    cancelled, again = (starter.post(f"/workflows/{run['id']}/cancel") for _ in range(2))
    work()

    (task,) = reviewer.tasks()
    decided = reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
    assert (cancelled.status_code, again.status_code) == (200, 200)
    assert cancelled.json()["status"] == "cancelled"
    assert task["status"] == "cancelled"
    assert (decided.status_code, decided.json()["code"]) == (409, "TaskClosed")
    assert platform.communication.to(starter.user_id) == []


def test_a_run_cancelled_while_a_worker_is_at_it_stays_cancelled(
    starter: Caller, platform: Platform, neighbours: Neighbours
) -> None:
    run = starter.start(starter.publish({"tell": TELL | {"next": "more"}, "more": TELL}))

    def cancel(_: httpx.Request) -> None:
        starter.post(f"/workflows/{run['id']}/cancel")

    platform.before = cancel
    worker.work(session_maker, neighbours, LEASE)

    history = [event["type"] for event in starter.history(run)]
    assert starter.run(run)["status"] == "cancelled"
    assert history[-2:] == ["run.cancelled", "step.late"]


def test_a_finished_run_cannot_be_cancelled_or_retried(starter: Caller, work: Work) -> None:
    run = starter.start(starter.publish({"tell": TELL}))
    work()

    for verb in ("cancel", "retry"):
        response = starter.post(f"/workflows/{run['id']}/{verb}")

        assert (response.status_code, response.json()["code"]) == (409, "WrongState")


def test_a_retried_run_goes_on_where_it_failed(
    starter: Caller, platform: Platform, work: Work
) -> None:
    refusals = [None, problem(422, "No such template")]
    platform.before = lambda _: refusals.pop(0) if refusals else None
    steps = {"one": TELL | {"next": "two"}, "two": TELL | {"next": "three"}, "three": TELL}
    run = starter.start(starter.publish(steps))
    work()
    assert starter.run(run)["error"] == "two: communication-service: No such template"

    retried = starter.post(f"/workflows/{run['id']}/retry")
    work()

    assert (retried.status_code, retried.json()["error"]) == (200, None)
    assert starter.run(run)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 3


def test_a_retry_that_cannot_help_fails_with_the_same_reason(starter: Caller, work: Work) -> None:
    steps = {"tell": TELL | {"with": TELL["with"] | {"body": "input.missing"}}}
    run = starter.start(starter.publish(steps))

    starter.post(f"/workflows/{run['id']}/retry")
    work()

    assert "input.missing has no value" in starter.run(run)["error"]


def test_a_failed_approval_can_be_retried_and_asks_once(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    refusals = [problem(422, "No such template")]
    platform.before = lambda _: refusals.pop() if refusals else None
    review = ask(reviewer, tell={"template": "'review-requested'"})
    run = starter.start(starter.publish({"review": review}))
    work()
    assert reviewer.tasks() == []

    starter.post(f"/workflows/{run['id']}/retry")
    work()

    (task,) = reviewer.tasks()
    assert task["status"] == "open"
    assert len(platform.communication.to(reviewer.user_id)) == 1


def test_a_decision_is_final(starter: Caller, reviewer: Caller, work: Work) -> None:
    run = starter.start(starter.publish({"ask": ask(reviewer)}))
    work()
    (task,) = reviewer.tasks()
    path = f"/tasks/{task['id']}/complete"

    first = reviewer.post(path, json={"decision": "reject", "comment": "No."})
    second = reviewer.post(path, json={"decision": "approve"})

    assert first.status_code == 200
    assert (second.status_code, second.json()["detail"]) == (409, "This task is completed")
    assert reviewer.get(f"/tasks/{task['id']}").json()["decision"] == "reject"
    assert starter.run(run)["status"] == "completed"


def test_open_tasks_come_first(starter: Caller, reviewer: Caller, work: Work) -> None:
    name = starter.publish({"ask": ask(reviewer)})
    for _ in range(3):
        starter.start(name)
    work()
    newest = reviewer.tasks()[0]
    reviewer.post(f"/tasks/{newest['id']}/complete", json={"decision": "approve"})

    tasks = reviewer.tasks()

    assert [task["status"] for task in tasks] == ["open", "open", "completed"]
    assert tasks[-1]["id"] == newest["id"]


def test_a_task_page_goes_on_where_the_last_one_ended(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    name = starter.publish({"ask": ask(reviewer)})
    for _ in range(3):
        starter.start(name)
    work()

    first = reviewer.get("/tasks?limit=2").json()
    second = reviewer.get(f"/tasks?limit=2&cursor={first['next_cursor']}").json()

    assert len({task["id"] for task in [*first["items"], *second["items"]]}) == 3
    assert second["next_cursor"] is None


@pytest.mark.parametrize("given", ["document_id", "text"])
def test_summarize_works_on_a_text_and_on_a_document(
    starter: Caller, platform: Platform, given: str
) -> None:
    text = "The mill is old. " * 3
    values = {"text": text, "document_id": platform.content.add(starter.user_id, text)}

    response = starter.post("/ai/summarize", json={given: values[given]})

    assert response.status_code == 200, response.text
    assert response.json() == {
        "summary": "The mill is old.", "provider": "offline", "model": "extractive"
    }  # fmt: skip


def test_summarize_of_a_file_needs_its_text_and_says_how_to_get_it(
    starter: Caller, platform: Platform
) -> None:
    document_id = platform.content.add(starter.user_id, body=None)

    before = starter.post("/ai/summarize", json={"document_id": document_id})
    platform.content.asked[document_id] = platform.content.pace
    after = starter.post("/ai/summarize", json={"document_id": document_id})

    assert (before.status_code, before.json()["code"]) == (409, "NoTextYet")
    assert f"POST /api/v1/documents/{document_id}/process" in before.json()["detail"]
    assert "mill race" in after.json()["summary"]


def test_summarize_of_a_document_the_caller_may_not_read_is_404(
    starter: Caller, stranger: Caller, platform: Platform
) -> None:
    document_id = platform.content.add(stranger.user_id)

    response = starter.post("/ai/summarize", json={"document_id": document_id})

    assert response.status_code == 404


def test_summarize_without_content_service_is_503(
    starter: Caller, platform: Platform, login: Callable[..., Caller]
) -> None:
    platform.before = lambda _: problem(503, "Not now")

    response = starter.post("/ai/summarize", json={"document_id": starter.user_id})

    assert response.status_code == 503
    assert "Retry-After" in response.headers
