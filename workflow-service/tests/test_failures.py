"""What fails in the middle of a run: the database, a neighbour, a run itself."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text, update

from chassis.remote_auth import ServiceAccount
from workflow_service.database import session_maker
from workflow_service.definition.model import StepRetryPolicy
from workflow_service.models import Step
from workflow_service.neighbours import Neighbours, create_neighbours
from workflow_service.settings import settings

from .conftest import Caller, Work, create_worker, make_pending_steps_due, make_waiting_steps_due
from .fakes import Platform, problem

TELL: dict[str, Any] = {
    "kind": "communication.notify",
    "with": {"recipient_id": "run.started_by", "subject": "'Hello'", "body": "'You'"},
}
CHAIN = {f"s{n}": TELL | {"next": f"s{n + 1}"} for n in range(9)} | {"s9": TELL}
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'workflow'"


def cut_all_connections() -> None:
    """As a restart of the database does."""
    engine = create_engine(settings.get_driver_url("psycopg2"))
    with engine.connect() as connection:
        connection.execute(text(f"{CUT} AND pid <> pg_backend_pid()"))
    engine.dispose()


def test_a_database_that_restarts_again_and_again_loses_and_repeats_nothing(
    starter: Caller, platform: Platform, neighbours: Neighbours
) -> None:
    platform.before = lambda _: time.sleep(0.05)
    run = starter.start(starter.publish(CHAIN))
    working = threading.Thread(target=create_worker(neighbours).work)
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

    create_worker(neighbours).work()

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


@dataclass
class SlowIdentity(httpx.AsyncBaseTransport):
    """The platform, but that identity takes these pauses before it answers."""

    platform: Platform
    pauses: list[float]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "identity-service" and self.pauses:
            await asyncio.sleep(self.pauses.pop())
        return await self.platform.handle_async_request(request)


def test_identity_that_is_slow_is_given_the_steps_time_and_asked_again(
    starter: Caller, platform: Platform
) -> None:
    slow = SlowIdentity(platform, [3.0])
    worker = create_worker(create_neighbours(settings, ServiceAccount(settings, slow), slow))
    run = starter.start(starter.publish({"one": TELL | {"timeout": 0.5}}))
    began = time.monotonic()

    worker.work()
    make_pending_steps_due()
    worker.work()

    retries = [e["data"]["error"] for e in starter.history(run) if e["type"] == "step.retrying"]
    assert starter.run(run)["status"] == "completed"
    assert time.monotonic() - began < 3
    assert retries == ["identity-service: identity-service did not answer"]


@pytest.mark.parametrize(
    ("retry", "attempts"),
    [
        ({"attempts": 3}, 3),
        ({"attempts": 1}, 1),
        ({"attempts": 12}, 12),
        ({"max_age": 1, "pause": 5, "growth": "fixed"}, 1),
    ],
)
def test_a_retry_policy_is_kept_to(
    starter: Caller, platform: Platform, work: Work, retry: dict[str, Any], attempts: int
) -> None:
    platform.before = lambda _: problem(503, "Away")
    run = starter.start(starter.publish({"one": TELL | {"retry": retry}}))

    work()

    assert starter.run(run)["error"].endswith(f"given up after {attempts} attempts")


def away_for(work: Callable[[], None], platform: Platform, attempts: int) -> None:
    """Communication does not answer; every pause is cut short."""
    platform.before = lambda _: problem(503, "Away")
    for _ in range(attempts):
        work()
        make_pending_steps_due()
    platform.before = lambda _: None


@pytest.fixture
def patient(platform: Platform) -> Callable[[], None]:
    """Work with clients of its own each time, so that no circuit is open."""

    def patient() -> None:
        account = ServiceAccount(settings, platform)
        create_worker(create_neighbours(settings, account, platform)).work()

    return patient


def test_a_service_of_ours_is_waited_for_beyond_the_number_of_attempts(
    starter: Caller, platform: Platform, patient: Callable[[], None]
) -> None:
    run = starter.start(starter.publish({"one": TELL}))

    away_for(patient, platform, StepRetryPolicy().attempts + 3)
    patient()

    assert starter.run(run)["status"] == "completed"
    assert len(platform.communication.to(starter.user_id)) == 1


def test_a_service_of_ours_is_waited_for_no_longer_than_it_knows_the_steps_key(
    starter: Caller, platform: Platform, patient: Callable[[], None]
) -> None:
    run = starter.start(starter.publish({"one": TELL}))
    with session_maker.begin() as session:
        old = update(Step).filter_by(run_id=run["id"])
        session.execute(old.values(created_at=Step.created_at - timedelta(days=1)))

    away_for(patient, platform, StepRetryPolicy().attempts)

    assert "given up after 12 attempts" in starter.run(run)["error"]


def test_an_approval_outlives_any_outage_of_the_service_that_has_its_document(
    starter: Caller, reviewer: Caller, platform: Platform, patient: Callable[[], None]
) -> None:
    about = {"assignee_id": f"'{reviewer.user_id}'", "title": "'Well?'"}
    document = f"'{platform.content.add(starter.user_id)}'"
    ask = {"kind": "approval", "with": {**about, "document_id": document}}
    run = starter.start(starter.publish({"ask": ask}))
    patient()
    make_waiting_steps_due(run_id=run["id"])

    away_for(patient, platform, StepRetryPolicy().attempts + 3)
    patient()

    (task,) = reviewer.tasks()
    decided = reviewer.post(f"/tasks/{task['id']}/complete", json={"decision": "approve"})
    assert decided.status_code == 200
    assert starter.run(run)["status"] == "completed"


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
