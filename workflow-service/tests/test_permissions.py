"""Steps whose starter loses a permission meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Caller, Work
from .fakes import Platform
from .steps import TELL


def test_a_starter_who_loses_the_rights_fails_the_next_step(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work, login: Callable[..., Caller]
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    admin = login("*")
    run = starter.start(starter.publish({"ask": ask | {"next": "tell"}, "tell": TELL}))
    work()
    (person,) = [p for p in platform.identity.contacts if p == starter.user_id]
    platform.identity.answers = {
        token: answer
        for token, answer in platform.identity.answers.items()
        if answer["user_id"] != person
    }
    (task,) = reviewer.tasks()
    reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})

    work()

    assert admin.run(run)["error"] == "tell: identity-service: This user is not active"


APPROVAL = {"kind": "approval", "with": {"role": "'editor'", "title": "'Well?'"}}


SUMMARY = {"kind": "ai.summarize", "with": {"text": "'A text.'"}}


CALL = {"kind": "http", "with": {"url": "'http://127.0.0.2:9/'"}}


@pytest.mark.parametrize(
    ("step", "lost"),
    [(APPROVAL, "workflows:start"), (CALL, "workflows:start"), (SUMMARY, "ai:use")],
)
def test_a_step_that_asks_no_neighbour_ends_too_when_the_starter_lost_the_permission_for_it(
    starter: Caller, platform: Platform, work: Work, step: dict[str, Any], lost: str
) -> None:
    run = starter.start(starter.publish({"one": step}))
    for answer in platform.identity.answers.values():
        if answer["user_id"] == starter.user_id:
            answer["permissions"].remove(lost)

    work()

    reason = f"The starter of the run does not have the permission {lost} any more"
    assert starter.run(run)["error"] == f"one: {reason}"


@pytest.mark.parametrize("step", [APPROVAL, CALL, SUMMARY])
def test_a_step_that_asks_no_neighbour_ends_too_when_the_starter_is_not_active(
    starter: Caller, platform: Platform, work: Work, login: Callable[..., Caller],
    step: dict[str, Any],
) -> None:  # fmt: skip
    run = starter.start(starter.publish({"one": step}))
    answers = platform.identity.answers
    platform.identity.answers = {
        token: answer for token, answer in answers.items() if answer["user_id"] != starter.user_id
    }

    work()

    failed = login("*").run(run)
    assert failed["error"] == "one: identity-service: This user is not active"
