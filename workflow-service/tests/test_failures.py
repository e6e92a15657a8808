"""What fails in the middle of a run: the database, a neighbour, a run itself."""

import threading
import time
from datetime import datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text, update

from workflow_service.database import session_maker
from workflow_service.models import Step
from workflow_service.neighbours import Neighbours
from workflow_service.settings import settings

from .conftest import Caller, Platform, Work, new_worker, problem

TELL: dict[str, Any] = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}
CHAIN = {f"s{n}": TELL | {"next": f"s{n + 1}"} for n in range(9)} | {"s9": TELL}
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'workflow'"


def cut_all_connections() -> None:
    """As a restart of the database does."""
    engine = create_engine(settings.driver_url("psycopg2"))
    with engine.connect() as connection:
        connection.execute(text(f"{CUT} AND pid <> pg_backend_pid()"))
    engine.dispose()


def test_a_database_that_restarts_again_and_again_loses_and_repeats_nothing(
    starter: Caller, platform: Platform, neighbours: Neighbours
) -> None:
    platform.before = lambda _: time.sleep(0.05)
    run = starter.start(starter.publish(CHAIN))
    working = threading.Thread(target=new_worker(neighbours).work)
    working.start()

    for _ in range(3):
        time.sleep(0.3)
        cut_all_connections()
    working.join(30)

    assert starter.run(run)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 10


def test_what_was_answered_while_the_database_is_away_is_written_when_it_is_back(
    starter: Caller, platform: Platform, neighbours: Neighbours
) -> None:
    def answer_and_cut(_: httpx.Request) -> None:
        if not platform.communication.to(starter.user_id):
            cut_all_connections()

    platform.before = answer_and_cut
    run = starter.start(starter.publish({"one": TELL}))

    new_worker(neighbours).work()

    started = [e for e in starter.history(run) if e["type"] == "step.started"]
    assert starter.run(run)["status"] == "completed"
    assert len(started) == 1


def test_a_run_that_the_engine_cannot_move_fails_and_holds_up_no_other(
    starter: Caller, platform: Platform, work: Work
) -> None:
    name = starter.publish({"one": TELL, "two": TELL} | {"one": TELL | {"next": "two"}})
    bad, good = starter.start(name), starter.start(name)
    with session_maker.begin() as session:  # a kind that a newer release has no more
        session.execute(update(Step).filter_by(run_id=bad["id"]).values(kind="gone"))

    work()

    assert starter.run(good)["status"] == "completed"
    assert starter.run(bad)["error"] == "cannot be moved; the log says why"


def test_the_tasks_of_a_run_that_cannot_be_moved_are_closed(
    starter: Caller, reviewer: Caller, work: Work
) -> None:
    ask = {"kind": "approval", "with": {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}}
    both = {"kind": "parallel", "branches": {"a": "ask", "b": "nap"}}
    nap = {"kind": "wait", "with": {"seconds": 9999}}
    run = starter.start(starter.publish({"both": both, "ask": ask, "nap": nap}))
    work()
    with session_maker.begin() as session:
        broken = update(Step).filter_by(run_id=run["id"], name="nap")
        session.execute(broken.values(kind="gone", status="pending"))

    work()

    (task,) = reviewer.tasks()
    assert (task["status"], starter.run(run)["status"]) == ("closed", "failed")


def test_a_neighbour_that_is_slow_is_given_the_steps_time_and_asked_again(
    starter: Caller, platform: Platform, work: Work
) -> None:
    pauses = [3.0]
    platform.before = lambda _: time.sleep(pauses.pop()) if pauses else None
    steps = {"one": TELL | {"timeout": 0.3}}
    run = starter.start(starter.publish(steps))
    began = time.monotonic()

    work()

    retries = [e for e in starter.history(run) if e["type"] == "step.retrying"]
    assert starter.run(run)["status"] == "completed"
    assert time.monotonic() - began < 3
    assert "did not answer" in retries[0]["data"]["error"]


@pytest.mark.parametrize(
    ("retry", "attempts"),
    [
        ({"attempts": 3}, 3),
        ({"attempts": 1}, 1),
        ({"max_age": 1, "pause": 5, "growth": "fixed"}, 1),
    ],
)
def test_a_retry_policy_is_kept_to(
    starter: Caller, platform: Platform, work: Work, retry: dict[str, Any], attempts: int
) -> None:
    platform.before = lambda _: problem(500, "Broken")
    run = starter.start(starter.publish({"one": TELL | {"retry": retry}}))

    work()

    assert starter.run(run)["error"].endswith(f"given up after {attempts} attempts")


def test_a_fixed_pause_does_not_grow(starter: Caller, platform: Platform, work: Work) -> None:
    answers = [problem(500, "No") for _ in range(3)]
    platform.before = lambda _: answers.pop() if answers else None
    retry = {"pause": 60, "growth": "fixed"}
    run = starter.start(starter.publish({"one": TELL | {"retry": retry}}))

    work()

    history = starter.history(run)
    pauses = [seconds_between(e["at"], e["data"]["run_at"]) for e in history if "retr" in e["type"]]
    assert len(pauses) == 3
    assert all(59 < pause < 61 for pause in pauses)


def seconds_between(first: str, second: str) -> float:
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()
