"""GET /tasks: which tasks it lists, with and without its filters."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Caller, Work
from .steps import decide, start_approval

Run = dict[str, Any]


@pytest.fixture
def runs(starter: Caller, reviewer: Caller, work: Work) -> list[Run]:
    """Starts two runs that ask the reviewer; the second one is decided."""
    started = [start_approval(starter, work, assignee_id=reviewer.user_id) for _ in range(2)]
    assert decide(reviewer).json()["workflow_id"] == started[1]["id"]
    return started


def list_workflow_ids(caller: Caller, **filters: Any) -> list[str]:
    response = caller.get("/tasks", params=filters)
    assert response.status_code == 200, response.text
    return [task["workflow_id"] for task in response.json()["items"]]


def test_tasks_are_listed_by_run_and_by_status(runs: list[Run], reviewer: Caller) -> None:
    waiting, decided = (run["id"] for run in runs)

    assert list_workflow_ids(reviewer) == [waiting, decided]
    assert list_workflow_ids(reviewer, workflow_id=decided) == [decided]
    assert list_workflow_ids(reviewer, status="open") == [waiting]
    assert list_workflow_ids(reviewer, status="completed") == [decided]
    assert list_workflow_ids(reviewer, status="closed") == []
    assert list_workflow_ids(reviewer, workflow_id=waiting, status="open") == [waiting]
    assert list_workflow_ids(reviewer, workflow_id=waiting, status="completed") == []


def test_a_filter_shows_no_task_that_is_assigned_to_someone_else(
    runs: list[Run], starter: Caller, stranger: Caller
) -> None:
    for other in (starter, stranger):
        assert list_workflow_ids(other, workflow_id=runs[0]["id"]) == []
        assert list_workflow_ids(other, status="open") == []


def test_a_filtered_list_of_tasks_is_read_page_by_page(
    starter: Caller, reviewer: Caller, login: Callable[..., Caller], work: Work
) -> None:
    reviewer_and_others = [reviewer.user_id, login().user_id]
    run = start_approval(starter, work, assignees=reviewer_and_others)
    other_runs = [start_approval(starter, work, assignee_id=reviewer.user_id) for _ in range(3)]
    filters: dict[str, Any] = {"status": "open", "limit": 2}

    first = reviewer.get("/tasks", params=filters).json()
    second = reviewer.get("/tasks", params={**filters, "cursor": first["next_cursor"]}).json()
    of_run = reviewer.get("/tasks", params={"workflow_id": run["id"], "limit": 1}).json()

    found = [task["workflow_id"] for page in (first, second) for task in page["items"]]
    assert found == [each["id"] for each in reversed([run, *other_runs])]
    assert second["next_cursor"] is None
    assert [task["workflow_id"] for task in of_run["items"]] == [run["id"]]
    assert of_run["next_cursor"] is None


@pytest.mark.parametrize(("name", "value"), [("workflow_id", "7"), ("status", "done")])
def test_a_filter_with_a_wrong_value_is_422_and_names_it(
    reviewer: Caller, name: str, value: str
) -> None:
    refused = reviewer.get("/tasks", params={name: value})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == name
