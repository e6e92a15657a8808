"""Runs of the main job while processes fail, and what each must have done in the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .users import (
    Person,
    Stack,
    approve,
    eventually,
    get_mails,
    register,
    start_review,
    upload_document,
    wait_for_run,
    wait_for_task,
)

LEASE_TIMEOUT_SECONDS = 40.0  # until another worker has taken over the work of a killed one


@dataclass
class Review:
    """One run of the main job; in the end it must have done each thing once."""

    author: Person
    reviewer: Person
    document: Any
    run: Any = None

    def start(self) -> None:
        self.run = start_review(self.author, self.reviewer, self.document)

    def approve(self) -> None:
        approve(self.reviewer, wait_for_task(self.reviewer, self.run, LEASE_TIMEOUT_SECONDS))

    def assert_done_once(self, stack: Stack) -> None:
        run = wait_for_run(self.author, self.run, LEASE_TIMEOUT_SECONDS)
        assert run["status"] == "completed", run["error"]
        [task] = [t for t in self.list_tasks() if t["workflow_id"] == run["id"]]
        assert self.list_workflow_actions().count("document.processing_requested") == 1
        assert self.list_workflow_actions().count("permission.granted") == 1
        # A run does not wait for its notifications.
        eventually(lambda: len(self.list_sent_templates()) >= 2, LEASE_TIMEOUT_SECONDS)
        assert sorted(self.list_sent_templates()) == ["review-decided", "review-requested"]
        self.assert_notified_once(stack, self.author, "approved")
        self.assert_notified_once(stack, self.reviewer, task["id"])

    def assert_notified_once(self, stack: Stack, person: Person, about: str) -> None:
        """Require one inbox item, and one mail, or several with the same Message-ID."""
        found = eventually(lambda: get_mails(stack, person.email, about), LEASE_TIMEOUT_SECONDS)
        assert len({mail["messageId"] for mail in found}) == 1
        assert len(eventually(lambda: list_inbox(person, about), LEASE_TIMEOUT_SECONDS)) == 1

    def list_sent_templates(self) -> list[str]:
        items = self.author.get("communication", "/notifications")["items"]
        return [notification["template"] for notification in items]

    def list_tasks(self) -> Any:
        return self.reviewer.get("workflow", "/tasks", params={"limit": 100})["items"]

    def list_workflow_actions(self) -> list[str]:
        """List the actions of workflow on the document."""
        trail = self.author.get("content", f"/documents/{self.document['id']}/audit")["items"]
        return [e["action"] for e in trail if e["acting_service"] == "workflow-service"]


def list_inbox(person: Person, about: str) -> list[Any]:
    items = person.get("communication", "/inbox", params={"limit": 100})["items"]
    return [item for item in items if about in item["body"]]


def prepare_review(stack: Stack) -> Review:
    author = register(stack)
    reviewer = register(stack)
    return Review(author, reviewer, upload_document(author))


def start_new_review(stack: Stack) -> Review:
    review = prepare_review(stack)
    review.start()
    return review


@contextmanager
def frozen(stack: Stack, name: str) -> Iterator[None]:
    stack.freeze(name)
    try:
        yield
    finally:
        stack.thaw(name)


@contextmanager
def stopped(stack: Stack, name: str) -> Iterator[None]:
    stack.stop(name)
    try:
        yield
    finally:
        stack.start(name)


def list_running_steps(review: Review) -> list[Any]:
    run = review.author.get("workflow", f"/workflows/{review.run['id']}")
    return [step for step in run["steps"] if step["status"] == "running"]
