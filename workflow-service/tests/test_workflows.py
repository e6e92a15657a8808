"""Starting and listing runs; deciding tasks; summaries."""

from collections.abc import Callable
from typing import Any

from .conftest import Caller, Work
from .fakes import Platform, problem

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


def test_a_run_has_the_trace_of_the_request_that_started_it(starter: Caller) -> None:
    new = {"definition": starter.publish({"tell": TELL})}

    run = starter.post("/workflows", json=new, headers={"X-Trace-ID": "a-trace-of-mine"}).json()

    assert run["trace_id"] == "a-trace-of-mine"


def test_runs_are_listed_newest_first_page_by_page(starter: Caller) -> None:
    name = starter.publish({"tell": TELL})
    started = [starter.start(name)["id"] for _ in range(4)]

    page = starter.get("/workflows?limit=2").json()
    rest = starter.get(f"/workflows?limit=2&cursor={page['next_cursor']}").json()

    ids = [item["id"] for item in [*page["items"], *rest["items"]]]
    assert ids == list(reversed(started))
    assert rest["next_cursor"] is None


def test_a_decision_is_final(starter: Caller, reviewer: Caller, work: Work) -> None:
    run = starter.start(starter.publish({"ask": ask(reviewer)}))
    work()
    (task,) = reviewer.tasks()
    path = f"/tasks/{task['id']}/complete"

    first = reviewer.post(path, json={"decision": "reject", "comment": "No."})
    second = reviewer.post(path, json={"decision": "approve"})

    assert first.status_code == 200
    assert (second.status_code, second.json()["detail"]) == (409, "This task is completed: reject")
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
