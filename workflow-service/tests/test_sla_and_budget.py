"""Runs that take too long or cost too much, and the numbers that show it."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, update

from workflow_service.ai.client import ModelClient
from workflow_service.ai.providers import Prices, Reply
from workflow_service.database import session_maker
from workflow_service.models import DefinitionVersion, Run, Step
from workflow_service.neighbours import Neighbours

from .conftest import Caller, Work, create_worker, make_waiting_steps_due
from .fakes import Platform

NAP: dict[str, Any] = {"kind": "wait", "with": {"seconds": 9999}}
TELL: dict[str, Any] = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}


def is_late(table: type[Run] | type[Step], **which: Any) -> None:
    late = update(table).filter_by(**which).values(due_at=table.created_at - timedelta(hours=1))
    with session_maker.begin() as session:
        session.execute(late)


def breaches(caller: Caller, run: dict[str, Any]) -> list[Any]:
    return [e["step"] for e in caller.history(run) if e["type"] == "sla.breached"]


# -- SLA ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "status"), [("tell", "waiting"), ("fail", "failed"), ("cancel", "cancelled")]
)
def test_a_run_that_takes_too_long_is_noted_told_and_more(
    starter: Caller, reviewer: Caller, platform: Platform, work: Work, action: str, status: str
) -> None:
    sla = {"seconds": 60, "action": action, "tell": [reviewer.user_id]}
    run = starter.start(starter.publish({"nap": NAP}, sla=sla))
    work()
    assert breaches(starter, run) == []

    is_late(Run, id=run["id"])
    work()
    work()

    found = starter.run(run)
    assert breaches(starter, run) == [None]
    assert found["status"] == status
    assert found["breached_at"] is not None
    (told,) = platform.communication.to(reviewer.user_id)
    assert "took longer than 0:01:00" in told["body"]


def test_a_step_that_takes_too_long_fails_as_its_definition_says(
    starter: Caller, platform: Platform, work: Work
) -> None:
    nap = NAP | {"sla": {"seconds": 60, "action": "fail"}, "on_failure": "continue"}
    steps = {"nap": nap | {"next": "after"}, "after": TELL}
    run = starter.start(starter.publish(steps))
    work()

    is_late(Step, run_id=run["id"])
    work()

    assert breaches(starter, run) == ["nap"]
    assert starter.run(run)["status"] == "completed"


def test_a_late_run_that_cannot_be_moved_stops_no_timer_of_another(
    starter: Caller, work: Work
) -> None:
    name = starter.publish({"nap": NAP}, sla={"seconds": 60, "action": "fail"})
    bad, good = starter.start(name), starter.start(name)
    napping = starter.start(starter.publish({"nap": NAP}))
    work()
    odd = DefinitionVersion(name=name, version=9, content={}, retired_at=func.now())
    with session_maker.begin() as session:  # a definition that a newer release cannot read
        session.add(odd)
        session.flush()
        session.execute(update(Run).filter_by(id=bad["id"]).values(definition_id=odd.id))
    for run in (bad, good):
        is_late(Run, id=run["id"])
    make_waiting_steps_due(run_id=napping["id"])

    work()

    assert starter.run(napping)["status"] == "completed"
    assert (starter.run(good)["status"], breaches(starter, good)) == ("failed", [None])
    assert starter.run(bad)["error"] == "cannot be moved; the log says why"


def test_the_check_says_which_runs_are_late_and_which_will_be(starter: Caller, work: Work) -> None:
    name = starter.publish({"nap": NAP}, sla={"seconds": 1000})
    in_time, at_risk, late = (starter.start(name) for _ in range(3))
    plain = starter.start(starter.publish({"nap": NAP}))
    work()
    is_late(Run, id=late["id"])
    ago = Run.created_at - timedelta(seconds=900)
    with session_maker.begin() as session:
        shifted = update(Run).filter_by(id=at_risk["id"])
        session.execute(shifted.values(created_at=ago, due_at=Run.due_at - timedelta(seconds=900)))

    states = {i["id"]: i["state"] for i in starter.get("/workflows/sla-check").json()["items"]}

    assert states == {in_time["id"]: "in_time", at_risk["id"]: "at_risk", late["id"]: "breached"}
    assert plain["id"] not in states


def test_the_check_shows_a_run_without_a_time_of_its_own_while_a_step_of_it_is_late(
    starter: Caller, work: Work
) -> None:
    nap = NAP | {"sla": {"seconds": 60}}
    late, _ = (starter.start(starter.publish({"nap": nap})) for _ in range(2))
    work()
    is_late(Step, run_id=late["id"])

    (found,) = starter.get("/workflows/sla-check").json()["items"]
    starter.post(f"/workflows/{late['id']}/cancel")

    assert (found["id"], found["state"], found["due_at"]) == (late["id"], "breached", None)
    assert found["late_steps"] == ["nap"]
    assert starter.get("/workflows/sla-check").json()["items"] == []


def test_the_stats_count_ones_own_runs(starter: Caller, stranger: Caller, work: Work) -> None:
    name = starter.publish({"tell": TELL})
    for _ in range(3):
        starter.start(name)
    bad = starter.publish({"bad": {"kind": "set", "with": {"values": {"n": "1 / 0"}}}})
    starter.start(bad)
    work()

    stats = starter.get("/workflows/stats").json()

    rows = {row["definition"]: row for row in stats["by_definition"]}
    assert stats["by_status"] == {"completed": 3, "failed": 1}
    assert (rows[name]["runs"], rows[name]["completed"]) == (3, 3)
    assert rows[name]["p95_seconds"] >= rows[name]["median_seconds"] > 0
    assert (rows[bad]["failed"], rows[bad]["median_seconds"]) == (1, None)
    assert stranger.get("/workflows/stats").json()["by_status"] == {}


# -- budget -------------------------------------------------------------------------------------


class Costly:
    """A model: it answers each question at a dollar."""

    name, model, prices, max_repairs = "openai", "m", Prices(1.0, 0.0), 0

    def generate_reply(self, prompt: Any, conversation: Any) -> Reply:
        return Reply(json.dumps({"summary": "Short."}), 1_000_000, 0)


@pytest.fixture
def costly(neighbours: Neighbours) -> Work:
    models: Any = [Costly()]
    return create_worker(replace(neighbours, models=ModelClient(models))).work


SUMMARIES: dict[str, Any] = {
    f"s{n}": {"kind": "ai.summarize", "with": {"text": "'A text.'"}} for n in range(3)
}
for number in range(2):
    SUMMARIES[f"s{number}"]["next"] = f"s{number + 1}"


def test_overspending_becomes_an_approval_that_lets_the_run_go_on(
    starter: Caller, reviewer: Caller, costly: Work
) -> None:
    budget = {"usd": 2.0, "assignee_id": f"'{reviewer.user_id}'"}
    run = starter.start(starter.publish(SUMMARIES, budget=budget))
    costly()

    (task,) = reviewer.tasks()
    assert starter.run(run)["status"] == "waiting"
    assert starter.run(run)["usage"] == {
        "calls": 2, "input_tokens": 2_000_000, "output_tokens": 0, "cost_usd": 2.0
    }  # fmt: skip
    assert (task["purpose"], task["subject"]["spent_usd"]) == ("budget", 2.0)
    reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
    costly()

    assert starter.run(run)["status"] == "completed"
    assert starter.run(run)["usage"]["cost_usd"] == 3.0


def test_a_run_that_may_not_spend_more_fails(
    starter: Caller, reviewer: Caller, costly: Work
) -> None:
    budget = {"usd": 1.0, "assignee_id": f"'{reviewer.user_id}'"}
    run = starter.start(starter.publish(SUMMARIES, budget=budget))
    costly()

    (task,) = reviewer.tasks()
    reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "reject"})
    costly()

    assert starter.run(run)["error"] == "s1: the run was not allowed to cost more"
    assert starter.run(run)["usage"]["calls"] == 1
