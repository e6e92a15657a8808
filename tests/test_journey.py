"""Tests the main job from end to end against real processes."""

from dataclasses import dataclass
from typing import Any

import pytest

from .users import (
    Person,
    Stack,
    approve,
    decide,
    eventually,
    get_mails,
    log_in,
    register,
    start_review,
    upload_document,
    wait_for_run,
    wait_for_task,
)


@dataclass
class Story:
    """Holds everything about one approved document."""

    author: Person
    reviewer: Person
    document: Any
    task: Any
    run: Any


@pytest.fixture(scope="module")
def story(stack: Stack) -> Story:
    author = register(stack)
    reviewer = log_in(stack, "reviewer@example.com")
    document = upload_document(author)
    run = start_review(author, reviewer, document)
    task = wait_for_task(reviewer, run)
    approve(reviewer, task)
    run = wait_for_run(author, run)
    eventually(lambda: get_mails(stack, author.email))
    eventually(lambda: list_inbox(author))
    return Story(author, reviewer, document, task, run)


def list_inbox(person: Person) -> Any:
    return person.get("communication", "/inbox")["items"]


def test_the_run_ends_with_the_decision(story: Story) -> None:
    assert story.run["status"] == "completed", story.run["error"]
    assert story.run["output"]["decision"] == "approve"
    assert story.run["output"]["comment"] == "Clear and fair"


def test_the_summary_is_made_of_what_the_document_says(story: Story) -> None:
    processing = story.author.get("content", f"/documents/{story.document['id']}/processing")
    summary = story.task["subject"]["summary"]

    assert "Sallowford" in processing["text"]
    assert processing["page_count"] == 4
    assert 20 < len(summary.split()) < processing["word_count"] / 4
    assert "race" in summary or "weir" in summary


def test_the_reviewer_is_notified_by_mail_and_in_app(stack: Stack, story: Story) -> None:
    task_id = story.task["id"]
    reviewer = story.reviewer

    [mail] = get_mails(stack, reviewer.email, about=task_id)
    [item] = [item for item in list_inbox(reviewer) if task_id in item["body"]]

    assert mail["subject"] == item["subject"]
    assert story.task["subject"]["title"] in mail["subject"]


def test_the_author_is_notified_by_mail_and_in_app(stack: Stack, story: Story) -> None:
    [mail] = get_mails(stack, story.author.email)
    [item] = list_inbox(story.author)

    assert mail["subject"] == item["subject"]
    assert "approved" in mail["text"]
    assert "Clear and fair" in mail["text"]


def test_the_reviewer_may_read_the_document_and_not_change_it(story: Story) -> None:
    path = f"/documents/{story.document['id']}"

    read = story.reviewer.request("GET", "content", path)
    changed = story.reviewer.request(
        "PATCH", "content", path, json={"title": "Mine"}, headers={"If-Match": read.headers["ETag"]}
    )

    assert (read.status_code, changed.status_code) == (200, 403)


def test_a_stranger_sees_nothing_of_it(stack: Stack, story: Story) -> None:
    stranger = register(stack)

    answers = [
        stranger.request("GET", "content", f"/documents/{story.document['id']}"),
        stranger.request("GET", "content", f"/documents/{story.document['id']}/audit"),
        stranger.request("GET", "workflow", f"/workflows/{story.run['id']}"),
        stranger.request("GET", "workflow", f"/workflows/{story.run['id']}/history"),
        complete_task(stranger, story.task),
    ]

    assert [answer.status_code for answer in answers] == [404] * 5
    assert stranger.get("content", "/search", params={"q": "Sallowford"})["items"] == []


def test_a_decision_is_final(story: Story) -> None:
    answer = complete_task(story.reviewer, story.task)

    assert answer.status_code == 409


def complete_task(person: Person, task: Any) -> Any:
    path = f"/tasks/{task['id']}/complete"
    return person.request("POST", "workflow", path, json={"decision": "reject"})


def test_the_run_is_under_the_trace_id_of_the_request_that_started_it(story: Story) -> None:
    history = story.author.get("workflow", f"/workflows/{story.run['id']}/history")["items"]

    assert story.run["trace_id"] == story.author.trace_id
    assert {event["type"] for event in history} >= {"step.started", "step.done"}


def test_the_audit_trail_of_the_document_is_under_the_same_trace_id(story: Story) -> None:
    trail = story.author.get("content", f"/documents/{story.document['id']}/audit")["items"]

    by_workflow = [entry for entry in trail if entry["acting_service"] == "workflow-service"]
    assert len(by_workflow) >= 2
    assert {entry["trace_id"] for entry in trail} == {story.author.trace_id}
    assert {entry["actor_id"] for entry in by_workflow} == {story.author.user_id}


def test_the_attempts_to_deliver_are_under_the_same_trace_id(story: Story) -> None:
    sent = story.author.get("communication", "/notifications")["items"]

    attempts = [
        attempt
        for notification in sent
        for attempt in story.author.get(
            "communication", f"/notifications/{notification['id']}/attempts"
        )["items"]
    ]
    assert len(sent) == 2
    assert len(attempts) >= 4
    assert {attempt["trace_id"] for attempt in attempts} == {story.author.trace_id}


@pytest.mark.parametrize(
    "process",
    [
        "identity-service",
        "content-service",
        "communication-service",
        "communication-worker",
        "workflow-service",
        "workflow-worker",
    ],
)
def test_the_logs_of_every_process_hold_the_same_trace_id(
    stack: Stack, story: Story, process: str
) -> None:
    assert story.author.trace_id in stack.read_logs(process)


def test_a_rejected_document_is_rejected(stack: Stack) -> None:
    author = register(stack)
    reviewer = log_in(stack, "reviewer@example.com")
    run = start_review(author, reviewer, upload_document(author))

    decide(reviewer, wait_for_task(reviewer, run), "reject", "Far too long")

    assert wait_for_run(author, run)["output"]["decision"] == "reject"
    mail = eventually(lambda: get_mails(stack, author.email))[0]
    assert "rejected" in mail["text"]
    assert "Far too long" in mail["text"]
