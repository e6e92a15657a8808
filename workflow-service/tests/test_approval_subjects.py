"""Approvals: a decision is bound to what was seen, such as a version of a document."""

import time

from .conftest import Caller, Work, make_waiting_steps_due
from .fakes import Platform
from .steps import decide, list_bodies, start_approval


def test_a_decision_on_what_was_seen_before_is_refused(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    run = start_approval(starter, work, assignee_id=reviewer.user_id)
    (task,) = reviewer.tasks()

    old = decide(reviewer, subject_hash="0" * 64)
    new = decide(reviewer, subject_hash=task["subject_hash"])

    assert (old.status_code, old.json()["code"]) == (409, "Outdated")
    assert new.status_code == 200
    assert starter.run(run)["status"] == "completed"


def test_another_subject_has_another_hash(starter: Caller, reviewer: Caller, work: Work) -> None:
    for number in (1, 2):
        start_approval(starter, work, assignee_id=reviewer.user_id, subject={"n": number})

    assert len({task["subject_hash"] for task in reviewer.tasks()}) == 2


def test_a_changed_document_voids_its_open_approval_and_tells(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    document_id = platform.content.add(starter.user_id)
    run = start_approval(starter, work, assignee_id=reviewer.user_id, document_id=document_id)
    (task,) = reviewer.tasks()
    assert task["seen"]["version"] == 1

    platform.content.documents[document_id]["version"] = 2
    make_waiting_steps_due(run_id=run["id"])
    work()

    (closed,) = reviewer.tasks()
    assert closed["status"] == "closed"
    assert "is at version 2 now" in closed["reason"]
    assert "is at version 2 now" in list_bodies(platform, reviewer)[1]
    assert "is at version 2 now" in starter.run(run)["error"]


def test_a_decision_on_a_changed_document_is_refused_at_once(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    document_id = platform.content.add(starter.user_id)
    run = start_approval(starter, work, assignee_id=reviewer.user_id, document_id=document_id)
    platform.content.documents[document_id]["version"] = 2

    refused = decide(reviewer)
    work()

    assert (refused.status_code, refused.json()["code"]) == (409, "Outdated")
    assert reviewer.tasks()[0]["status"] == "closed"
    assert starter.run(run)["status"] == "failed"


def test_a_decision_does_not_wait_long_for_the_document(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    document_id = platform.content.add(starter.user_id)
    start_approval(starter, work, assignee_id=reviewer.user_id, document_id=document_id)
    platform.before = lambda _: time.sleep(4)
    begun = time.monotonic()

    refused = decide(reviewer)

    assert refused.status_code == 503
    assert time.monotonic() - begun < 4


def test_an_unchanged_document_is_looked_at_ever_more_rarely(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    document_id = platform.content.add(starter.user_id)
    run = start_approval(starter, work, assignee_id=reviewer.user_id, document_id=document_id)

    make_waiting_steps_due(run_id=run["id"])
    work()

    assert decide(reviewer).status_code == 200
    assert starter.run(run)["output"] == {"decision": "approve"}


def test_a_document_that_changed_before_it_was_shown_is_not_asked_about(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    document_id = platform.content.add(starter.user_id)
    platform.content.documents[document_id]["version"] = 3

    run = start_approval(
        starter, work, assignee_id=reviewer.user_id, document_id=document_id, version=2
    )

    assert reviewer.tasks() == []
    assert "is at version 3 now, and not at 2" in starter.run(run)["error"]
