"""Tests rows of docs/failure-matrix.md on the whole platform: all work is done, and once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from .document_reviews import (
    LEASE_TIMEOUT_SECONDS,
    Review,
    frozen,
    list_running_steps,
    prepare_review,
    start_new_review,
    stopped,
)
from .users import Stack, eventually, get_mails, log_in, register, wait_for_run, wait_for_task

Away = Callable[[Stack, str], AbstractContextManager[None]]


def finish_review(stack: Stack, review: Review) -> None:
    review.approve()
    review.assert_done_once(stack)


def test_a_service_that_dies_right_after_its_201_has_promised_nothing_in_vain(
    stack: Stack,
) -> None:
    review = start_new_review(stack)
    stack.kill("workflow-service")

    eventually(lambda: is_back(review), LEASE_TIMEOUT_SECONDS)
    finish_review(stack, review)


def is_back(review: Review) -> bool:
    try:
        return review.author.request("GET", "workflow", "/tasks").is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("name", ["workflow-scheduler", "workflow-redis"])
def test_without_scheduler_or_broker_a_start_is_accepted_and_done_when_they_are_back(
    stack: Stack, name: str
) -> None:
    with stopped(stack, name):
        review = start_new_review(stack)

    finish_review(stack, review)


def test_a_scheduler_that_is_killed_again_and_again_loses_nothing(stack: Stack) -> None:
    stack.kill("workflow-scheduler")
    review = start_new_review(stack)
    task = wait_for_task(review.reviewer, review.run, LEASE_TIMEOUT_SECONDS)
    stack.kill("workflow-scheduler")

    assert task["status"] == "open"
    finish_review(stack, review)


@pytest.mark.parametrize("away", [stopped, frozen])
def test_a_run_waits_for_content_and_then_goes_on(stack: Stack, away: Away) -> None:
    review = prepare_review(stack)
    with away(stack, "content-service"):
        review.start()
        eventually(
            lambda: list_failed_steps(review) or list_running_steps(review), LEASE_TIMEOUT_SECONDS
        )

    finish_review(stack, review)


def list_failed_steps(review: Review) -> list[Any]:
    run = review.author.get("workflow", f"/workflows/{review.run['id']}")
    return [step for step in run["steps"] if step["error"]]


def test_without_communication_a_task_is_open_and_its_reviewer_is_notified_later(
    stack: Stack,
) -> None:
    review = prepare_review(stack)
    with stopped(stack, "communication-service"):
        review.start()
        task = wait_for_task(review.reviewer, review.run, LEASE_TIMEOUT_SECONDS)

    finish_review(stack, review)
    assert get_mails(stack, review.reviewer.email, task["id"])


def test_a_document_that_changes_under_review_voids_the_approval_and_tells(stack: Stack) -> None:
    review = start_new_review(stack)
    task = wait_for_task(review.reviewer, review.run, LEASE_TIMEOUT_SECONDS)
    path = f"/documents/{review.document['id']}"
    etag = review.author.request("GET", "content", path).headers["ETag"]
    changed = review.author.request(
        "PATCH", "content", path, json={"title": "Another"}, headers={"If-Match": etag}
    )
    assert changed.is_success, changed.text

    refused = review.reviewer.request(
        "POST", "workflow", f"/tasks/{task['id']}/complete", json={"decision": "approve"}
    )

    run = wait_for_run(review.author, review.run, LEASE_TIMEOUT_SECONDS)
    assert (refused.status_code, run["status"]) == (409, "failed")
    assert "what was to be decided has changed" in run["error"]
    eventually(
        lambda: get_mails(stack, review.reviewer.email, "need not decide any more"),
        LEASE_TIMEOUT_SECONDS,
    )
    again = review.author.post("workflow", f"/workflows/{run['id']}/rerun", json={})
    renewed = wait_for_task(review.reviewer, again, LEASE_TIMEOUT_SECONDS)
    assert renewed["seen"]["version"] > task["seen"]["version"]


def test_users_with_the_role_are_notified_and_decide(stack: Stack) -> None:
    admin = log_in(stack, "admin@example.com")
    author = register(stack)
    ask = {"kind": "approval", "with": {"role": "'editor'", "title": "'May we?'"}}
    new = {"name": f"ask-{author.user_id}", "title": "Ask", "start": "ask", "steps": {"ask": ask}}
    admin.post("workflow", "/definitions", json=new)
    run = author.post("workflow", "/workflows", json={"definition": new["name"]})
    editor = log_in(stack, "editor@example.com")

    task = wait_for_task(editor, run)
    eventually(lambda: get_mails(stack, editor.email, task["id"]), LEASE_TIMEOUT_SECONDS)
    editor.post("workflow", f"/tasks/{task['id']}/complete", json={"decision": "approve"})

    assert wait_for_run(author, run)["status"] == "completed"
