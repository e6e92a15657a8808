"""Rows of docs/failure-matrix.md that take the whole platform: everything is done, and once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from .people import Stack, eventually, finished, log_in, mails, open_task, register
from .reviews import LEASE_OVER, Review, frozen, prepared, started, steps_under_way, stopped

Away = Callable[[Stack, str], AbstractContextManager[None]]


def ends_well(stack: Stack, review: Review) -> None:
    review.is_approved()
    review.has_done_everything_once(stack)


def test_a_service_that_dies_right_after_its_201_has_promised_nothing_in_vain(
    stack: Stack,
) -> None:
    review = started(stack)
    stack.kill("workflow-service")

    eventually(lambda: is_back(review), LEASE_OVER)
    ends_well(stack, review)


def is_back(review: Review) -> bool:
    try:
        return review.author.ask("GET", "workflow", "/tasks").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("name", ["workflow-scheduler", "workflow-redis"])
def test_without_scheduler_or_broker_a_start_is_accepted_and_done_when_they_are_back(
    stack: Stack, name: str
) -> None:
    with stopped(stack, name):
        review = started(stack)

    ends_well(stack, review)


def test_a_scheduler_that_is_killed_again_and_again_loses_nothing(stack: Stack) -> None:
    stack.kill("workflow-scheduler")
    review = started(stack)
    task = open_task(review.reviewer, review.run, LEASE_OVER)
    stack.kill("workflow-scheduler")

    assert task["status"] == "open"
    ends_well(stack, review)


@pytest.mark.parametrize("away", [stopped, frozen])
def test_a_run_waits_for_content_and_then_goes_on(stack: Stack, away: Away) -> None:
    review = prepared(stack)
    with away(stack, "content-service"):
        review.starts()
        eventually(lambda: attempts(review) or steps_under_way(review), LEASE_OVER)

    ends_well(stack, review)


def attempts(review: Review) -> list[Any]:
    run = review.author.get("workflow", f"/workflows/{review.run['id']}")
    return [step for step in run["steps"] if step["error"]]


def test_without_communication_a_task_is_open_and_its_reviewer_is_told_later(stack: Stack) -> None:
    review = prepared(stack)
    with stopped(stack, "communication-service"):
        review.starts()
        task = open_task(review.reviewer, review.run, LEASE_OVER)

    ends_well(stack, review)
    assert mails(stack, review.reviewer.email, task["id"])


def test_a_document_that_changes_under_review_voids_the_approval_and_tells(stack: Stack) -> None:
    review = started(stack)
    task = open_task(review.reviewer, review.run, LEASE_OVER)
    path = f"/documents/{review.document['id']}"
    etag = review.author.ask("GET", "content", path).headers["ETag"]
    changed = review.author.ask(
        "PATCH", "content", path, json={"title": "Another"}, headers={"If-Match": etag}
    )
    assert changed.is_success, changed.text

    refused = review.reviewer.ask(
        "POST", "workflow", f"/tasks/{task['id']}/complete", json={"decision": "approve"}
    )

    run = finished(review.author, review.run, LEASE_OVER)
    assert (refused.status_code, run["status"]) == (409, "failed")
    assert "what was to be decided has changed" in run["error"]
    eventually(lambda: mails(stack, review.reviewer.email, "need not decide any more"), LEASE_OVER)
    again = review.author.post("workflow", f"/workflows/{run['id']}/rerun", json={})
    renewed = open_task(review.reviewer, again, LEASE_OVER)
    assert renewed["seen"]["version"] > task["seen"]["version"]


def test_who_has_the_role_is_told_and_decides(stack: Stack) -> None:
    admin, author = log_in(stack, "admin@example.com"), register(stack)
    ask = {"kind": "approval", "with": {"role": "'editor'", "title": "'May we?'"}}
    new = {"name": f"ask-{author.user_id}", "title": "Ask", "start": "ask", "steps": {"ask": ask}}
    admin.post("workflow", "/definitions", json=new)
    run = author.post("workflow", "/workflows", json={"definition": new["name"]})
    editor = log_in(stack, "editor@example.com")

    task = open_task(editor, run)
    eventually(lambda: mails(stack, editor.email, task["id"]), LEASE_OVER)
    editor.post("workflow", f"/tasks/{task['id']}/complete", json={"decision": "approve"})

    assert finished(author, run)["status"] == "completed"
