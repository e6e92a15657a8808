"""Steps that wait for a time."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from workflow_service.database import session_maker
from workflow_service.models import Step

from .conftest import Caller, Work, make_waiting_steps_due
from .fakes import Platform
from .steps import TELL, get_statuses


def test_a_wait_is_over_when_its_time_has_come_and_not_before(
    starter: Caller, platform: Platform, work: Work
) -> None:
    steps = {"nap": {"kind": "wait", "with": {"seconds": 3 * 86400}, "next": "tell"}, "tell": TELL}
    run = starter.start(starter.publish(steps))
    work()
    assert (starter.run(run)["status"], get_statuses(starter, run)) == (
        "waiting",
        {"nap": "waiting"},
    )

    make_waiting_steps_due(run_id=run["id"])
    work()

    assert starter.run(run)["status"] == "completed"
    assert get_statuses(starter, run) == {"nap": "done", "tell": "done"}
    assert len(platform.communication.to(starter.user_id)) == 1


def test_a_clock_that_jumped_ahead_ends_no_wait_early(starter: Caller, work: Work) -> None:
    steps = {"nap": {"kind": "wait", "with": {"until": "'2999-01-01T00:00:00Z'"}}}
    run = starter.start(starter.publish(steps))
    work()
    with session_maker.begin() as session:  # woken too early, by whichever clock
        session.execute(update(Step).filter_by(run_id=run["id"]).values(run_at=Step.created_at))

    work()

    assert get_statuses(starter, run) == {"nap": "waiting"}


def test_a_wait_goes_by_the_clock_of_the_database_and_not_by_that_of_a_worker(
    starter: Caller, work: Work
) -> None:
    an_hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    steps = {"nap": {"kind": "wait", "with": {"until": f"'{an_hour_ago}'"}}}
    run = starter.start(starter.publish(steps))
    with session_maker.begin() as session:  # the database had it due an hour before that
        due = update(Step).filter_by(run_id=run["id"])
        session.execute(due.values(run_at=Step.run_at - timedelta(hours=2)))

    work()

    types = [event["type"] for event in starter.history(run)]
    assert types.count("step.rescheduled") == 1
    assert starter.run(run)["status"] == "completed"
