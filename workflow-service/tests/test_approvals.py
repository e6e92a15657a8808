"""Approvals: who may decide, how many must, and until when."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Caller, Work, make_waiting_steps_due
from .fakes import Platform
from .steps import decide, list_bodies, start_approval


@pytest.fixture
def three(login: Callable[..., Caller]) -> list[Caller]:
    return [login() for _ in range(3)]


def test_an_assignee_is_notified_and_decides_with_a_comment(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work
) -> None:
    run = start_approval(starter, work, assignee_id=reviewer.user_id)

    decided = decide(reviewer, comment="Fine.").json()
    work()

    assert list_bodies(platform, reviewer)[0].startswith("Please decide: Well?")
    assert (decided["decided_by"], decided["comment"]) == (reviewer.user_id, "Fine.")
    assert starter.run(run)["output"] == {"decision": "approve"}


@pytest.mark.parametrize(
    ("votes", "outcome"),
    [
        (["approve", "approve"], "approve"),
        (["reject", "approve", "approve"], "approve"),
        (["reject", "reject"], "reject"),
    ],
)
def test_two_of_three_decide(
    starter: Caller, three: list[Caller], work: Work, votes: list[str], outcome: str
) -> None:
    run = start_approval(starter, work, assignees=[p.user_id for p in three], needed=2)

    for person, vote in zip(three, votes, strict=False):
        assert starter.run(run)["status"] == "waiting"
        assert decide(person, vote).status_code == 200
    work()

    last = three[-1].tasks()[0]
    expected = "completed" if len(votes) == 3 else "closed"
    assert starter.run(run)["output"] == {"decision": outcome}
    assert last["status"] == expected


def test_a_role_decides_by_as_many_different_people_as_are_needed(
    starter: Caller, platform: Platform, login: Callable[..., Caller], work: Work
) -> None:
    ada, bob = (login(roles=("board", "member")) for _ in range(2))
    stranger = login()
    platform.users = [{"id": ada.user_id, "roles": ["board"]}, {"id": "x", "roles": ["member"]}]
    run = start_approval(starter, work, role="board", needed=2)

    assert stranger.tasks() == []
    assert [decide(ada).status_code, decide(ada).status_code] == [200, 409]
    assert decide(bob).status_code == 200
    work()

    assert starter.run(run)["output"] == {"decision": "approve"}
    assert len(list_bodies(platform, ada)) == 2


def test_who_started_a_run_does_not_decide_on_it_unless_the_definition_says_so(
    starter: Caller, work: Work
) -> None:
    start_approval(starter, work, assignee_id=starter.user_id)
    refused = decide(starter)
    run = start_approval(starter, work, assignee_id=starter.user_id, by_starter=True)
    allowed = decide(starter)

    assert (refused.status_code, refused.json()["code"]) == (403, "NotAssigned")
    assert allowed.status_code == 200
    work()
    assert starter.run(run)["status"] == "completed"


def test_who_can_see_a_task_and_is_not_asked_may_not_decide(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    start_approval(starter, work, assignee_id=reviewer.user_id)
    path = f"/tasks/{reviewer.tasks()[0]['id']}"

    assert starter.get(path).status_code == 200
    assert starter.post(f"{path}/complete", json={"decision": "approve"}).status_code == 403


def test_a_deadline_that_passes_asks_somebody_else_and_tells_both(
    starter: Caller, reviewer: Caller, login: Callable[..., Caller], platform: Platform, work: Work
) -> None:
    boss = login()
    run = start_approval(
        starter, work, assignee_id=reviewer.user_id, deadline=3600, escalate_to=boss.user_id
    )
    assert boss.tasks() == []

    make_waiting_steps_due(run_id=run["id"])
    work()

    (old,) = reviewer.tasks()
    assert (old["status"], old["reason"]) == ("closed", "Others are asked instead")
    assert "need not decide any more" in list_bodies(platform, reviewer)[1]
    assert list_bodies(platform, boss)[0].startswith("Please decide")
    assert decide(boss).status_code == 200
    work()
    assert starter.run(run)["output"] == {"decision": "approve"}


def test_an_assignee_after_a_deadline_decides_alone_also_after_having_voted(
    starter: Caller, three: list[Caller], work: Work
) -> None:
    about = {"assignees": [p.user_id for p in three], "needed": 2, "deadline": 3600}
    run = start_approval(starter, work, **about, escalate_to=three[0].user_id)
    assert decide(three[0], "approve").status_code == 200
    make_waiting_steps_due(run_id=run["id"])
    work()

    assert decide(three[0], "reject").status_code == 200
    work()

    assert starter.run(run)["output"] == {"decision": "reject"}


def test_an_assignee_after_a_deadline_has_time_although_the_document_is_looked_at(
    starter: Caller, reviewer: Caller, login: Callable[..., Caller], platform: Platform, work: Work
) -> None:
    boss = login()
    about = {"deadline": 3600, "document_id": platform.content.add(starter.user_id)}
    asked = {"assignee_id": reviewer.user_id, "escalate_to": boss.user_id}
    run = start_approval(starter, work, **asked, **about)
    for _ in range(3):
        make_waiting_steps_due(run_id=run["id"])
        work()

    assert starter.run(run)["status"] == "waiting"
    assert decide(boss).status_code == 200
    work()
    assert starter.run(run)["output"] == {"decision": "approve"}


def test_a_deadline_without_anybody_else_expires(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    run = start_approval(starter, work, assignee_id=reviewer.user_id, deadline=3600)

    make_waiting_steps_due(run_id=run["id"])
    work()

    assert starter.run(run)["output"] == {"decision": "expired"}
    assert reviewer.tasks()[0]["status"] == "closed"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"role": "board", "assignee_id": "0" * 32}, "give either a role, or assignee_id"),
        ({"assignees": ["0" * 32], "needed": 2}, "2 approvals are needed, but only 1 asked"),
    ],
)
def test_an_approval_that_no_one_could_give_fails(
    starter: Caller, work: Work, given: dict[str, Any], reason: str
) -> None:
    run = start_approval(starter, work, **given)

    assert reason in starter.run(run)["error"]


@pytest.mark.parametrize("needs", ["votes", "escalation"])
def test_an_approval_that_needs_the_starter_fails_unless_they_may_decide(
    starter: Caller, reviewer: Caller, work: Work, needs: str
) -> None:
    both = [starter.user_id, reviewer.user_id]
    given = {
        "votes": {"assignees": both, "needed": 2},
        "escalation": {"assignees": both, "deadline": 3600, "escalate_to": starter.user_id},
    }[needs]

    refused = start_approval(starter, work, **given)
    allowed = start_approval(starter, work, **given, by_starter=True)

    reason = (
        "ask: It needs the starter of the run, who may not decide on it: set by_starter,"
        " or ask more people"
    )
    assert starter.run(refused)["error"] == reason
    assert starter.run(allowed)["status"] == "waiting"
