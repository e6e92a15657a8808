"""Claims of deliveries that end together, in one statement."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import delete

from chassis.job_queue import DEAD, PENDING, claim_jobs
from communication_service.database import session_maker
from communication_service.delivery.queue import JobResult, finish_jobs
from communication_service.models import DELIVERED, Delivery, Notification

MINUTE = timedelta(minutes=1)
EXPIRED = timedelta(seconds=-1)


@pytest.fixture
def deliveries() -> Iterator[list[Delivery]]:
    """Four that are due; they are gone after the test."""
    person = str(uuid4())
    with session_maker.begin() as session:
        found = []
        for _ in range(4):
            notification = Notification(
                sender_id=person, recipient_id=person, category="general", subject="", body=""
            )
            found.append(Delivery(channel="in_app", notification=notification))
        session.add_all(found)
    yield found
    with session_maker.begin() as session:
        session.execute(delete(Delivery).where(Delivery.id.in_([each.id for each in found])))
        session.execute(delete(Notification).where(Notification.sender_id == person))


def claim(deliveries: Sequence[Delivery], lease: timedelta = MINUTE) -> Sequence[Delivery]:
    mine = Delivery.id.in_([delivery.id for delivery in deliveries])
    with session_maker.begin() as session:
        return claim_jobs(session, Delivery, limit=len(deliveries), lease=lease, only=mine)


def test_many_claims_are_ended_in_one_statement(deliveries: list[Delivery]) -> None:
    done, dead, later, untried = claim(deliveries)
    results = [
        JobResult(done),
        JobResult(dead, DEAD, "no such address"),
        JobResult(later, PENDING, "busy", delay=120),
        JobResult(untried, PENDING, counts=False),
    ]

    with session_maker.begin() as session:
        assert finish_jobs(session, results) == {done.id, dead.id, later.id, untried.id}

    with session_maker() as session:
        found = [session.get_one(Delivery, result.row.id) for result in results]
    assert [delivery.status for delivery in found] == [DELIVERED, DEAD, PENDING, PENDING]
    assert [delivery.last_error for delivery in found] == [None, "no such address", "busy", None]
    assert [delivery.attempts for delivery in found] == [1, 1, 1, 0]
    assert 110 < (found[2].run_at - datetime.now(UTC)).total_seconds() <= 120
    assert [delivery.id for delivery in claim(found)] == [untried.id]


def test_claims_with_an_old_fence_are_not_ended(deliveries: list[Delivery]) -> None:
    (frozen,) = claim(deliveries[:1], EXPIRED)
    (other,) = claim(deliveries[:1])

    with session_maker.begin() as session:
        assert finish_jobs(session, [JobResult(frozen, DEAD, "late")]) == set()
        assert finish_jobs(session, [JobResult(other)]) == {other.id}
        assert finish_jobs(session, [JobResult(other)]) == set()
        assert finish_jobs(session, []) == set()
