"""Runs of the main job whose course is disturbed, and what each must have done in the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .people import (
    Person,
    Stack,
    approve,
    eventually,
    finished,
    mails,
    open_task,
    register,
    start_review,
    upload,
)

LEASE_OVER = 40.0  # seconds in which the work of a killed worker is done by another


@dataclass
class Review:
    """One run of the main job, and what it must have done in the end: each thing once."""

    author: Person
    reviewer: Person
    document: Any
    run: Any = None

    def starts(self) -> None:
        self.run = start_review(self.author, self.reviewer, self.document)

    def is_approved(self) -> None:
        approve(self.reviewer, open_task(self.reviewer, self.run, LEASE_OVER))

    def has_done_everything_once(self, stack: Stack) -> None:
        run = finished(self.author, self.run, LEASE_OVER)
        assert run["status"] == "completed", run["error"]
        [task] = [t for t in self.tasks() if t["workflow_id"] == run["id"]]
        assert self.actions().count("document.processing_requested") == 1
        assert self.actions().count("permission.granted") == 1
        eventually(lambda: len(self.sent()) >= 2, LEASE_OVER)  # telling does not hold up a run
        assert sorted(self.sent()) == ["review-decided", "review-requested"]
        self.has_told_once(stack, self.author, "approved")
        self.has_told_once(stack, self.reviewer, task["id"])

    def has_told_once(self, stack: Stack, person: Person, about: str) -> None:
        """One inbox item, and one mail to whoever looks at its Message-ID."""
        found = eventually(lambda: mails(stack, person.email, about), LEASE_OVER)
        assert len({mail["messageId"] for mail in found}) == 1
        assert len(eventually(lambda: inbox(person, about), LEASE_OVER)) == 1

    def sent(self) -> list[str]:
        items = self.author.get("communication", "/notifications")["items"]
        return [notification["template"] for notification in items]

    def tasks(self) -> Any:
        return self.reviewer.get("workflow", "/tasks", params={"limit": 100})["items"]

    def actions(self) -> list[str]:
        """What workflow has done to the document."""
        trail = self.author.get("content", f"/documents/{self.document['id']}/audit")["items"]
        return [e["action"] for e in trail if e["acting_service"] == "workflow-service"]


def inbox(person: Person, about: str) -> list[Any]:
    items = person.get("communication", "/inbox", params={"limit": 100})["items"]
    return [item for item in items if about in item["body"]]


def prepared(stack: Stack) -> Review:
    author, reviewer = register(stack), register(stack)
    return Review(author, reviewer, upload(author))


def started(stack: Stack) -> Review:
    review = prepared(stack)
    review.starts()
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


def steps_under_way(review: Review) -> list[Any]:
    run = review.author.get("workflow", f"/workflows/{review.run['id']}")
    return [step for step in run["steps"] if step["status"] == "running"]
