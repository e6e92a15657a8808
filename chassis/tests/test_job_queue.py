"""The queue of record: rows that are claimed, finished, retried and taken over, on PostgreSQL."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from chassis.job_queue import (
    DEAD,
    DONE,
    PENDING,
    QueuedJobMixin,
    RetryPolicy,
    claim_jobs,
    finish_job,
    is_waiting,
    lease_expired,
    mark_exhausted_dead,
    renew_lease,
    retry_job,
)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: sa.DateTime(timezone=True)}  # noqa: RUF012


class Job(QueuedJobMixin, Base):
    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    result: Mapped[str | None]
    kind: Mapped[str] = mapped_column(default="any")


MINUTE = timedelta(minutes=1)
EXPIRED = timedelta(seconds=-1)  # a lease in the past

Sessions = sessionmaker[Session]


@pytest.fixture
def sessions(engine: sa.Engine) -> Iterator[Sessions]:
    Base.metadata.create_all(engine)
    yield sessionmaker(engine, expire_on_commit=False)
    Base.metadata.drop_all(engine)


def add(sessions: Sessions, count: int = 1, **values: Any) -> None:
    with sessions.begin() as session:
        session.add_all([Job(**values) for _ in range(count)])


def take(sessions: Sessions, limit: int = 1, lease: timedelta = MINUTE, **options: Any) -> Any:
    with sessions.begin() as session:
        return claim_jobs(session, Job, limit=limit, lease=lease, **options)


def only_job(sessions: Sessions) -> Job:
    with sessions() as session:
        return session.scalars(sa.select(Job)).one()


def seconds_until(moment: datetime | None) -> float:
    assert moment is not None
    return (moment - datetime.now(UTC)).total_seconds()


def test_a_claimed_row_is_running_under_a_lease_and_a_new_fence(sessions: Sessions) -> None:
    add(sessions)

    (job,) = take(sessions)

    assert (job.status, job.attempts, job.fence) == ("running", 1, 1)
    assert 55 < seconds_until(job.lease_until) <= 60
    assert only_job(sessions).fence == 1


def test_the_oldest_due_rows_come_first_and_no_more_than_asked_for(sessions: Sessions) -> None:
    now = datetime.now(UTC)
    for minutes in (1, 3, 2, -1):
        add(sessions, run_at=now - timedelta(minutes=minutes))

    assert {job.id for job in take(sessions, limit=2)} == {2, 3}
    assert [job.id for job in take(sessions, limit=9)] == [1]
    assert list(take(sessions, limit=9)) == []


@pytest.mark.parametrize("status", [DONE, DEAD, "cancelled"])
def test_a_finished_row_is_not_claimed(sessions: Sessions, status: str) -> None:
    add(sessions, status=status, lease_until=datetime.now(UTC) - MINUTE)

    assert list(take(sessions)) == []


def test_a_condition_narrows_the_claim(sessions: Sessions) -> None:
    add(sessions, kind="mail")
    add(sessions, kind="push")

    assert [job.kind for job in take(sessions, limit=9, only=Job.kind == "push")] == ["push"]


@pytest.mark.parametrize("known", [0, 1, 3, 3000])
def test_no_statistics_make_a_claim_take_more_than_it_was_asked_for(
    sessions: Sessions, known: int
) -> None:
    add(sessions, known)
    with sessions.begin() as session:
        session.execute(sa.text("ANALYZE jobs"))
    add(sessions, 60)  # a burst that the planner's statistics do not show

    assert len(take(sessions, limit=7)) == 7
    with sessions() as session:
        running = sa.select(sa.func.count()).select_from(Job).where(Job.status == "running")
        assert session.scalar(running) == 7


def test_many_claimers_never_share_a_row(sessions: Sessions) -> None:
    add(sessions, 300)
    claimed: Counter[int] = Counter()
    start = threading.Barrier(8)

    def work() -> None:
        start.wait(5)
        while jobs := take(sessions, limit=7):
            claimed.update(job.id for job in jobs)
            with sessions.begin() as session:
                assert all(finish_job(session, job) for job in jobs)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(claimed) == 300
    assert set(claimed.values()) == {1}


def test_a_claim_that_is_not_committed_has_no_effect(sessions: Sessions) -> None:
    add(sessions)

    with sessions() as session:  # this worker crashes before it commits
        assert claim_jobs(session, Job, limit=1, lease=MINUTE)
        assert list(take(sessions)) == []  # and other workers skip it meanwhile

    assert [job.fence for job in take(sessions)] == [1]


def test_a_finished_row_keeps_its_result(sessions: Sessions) -> None:
    add(sessions, last_error="the first try")
    (job,) = take(sessions)

    with sessions.begin() as session:
        assert finish_job(session, job, result="42 words")

    found = only_job(sessions)
    assert (found.status, found.result, found.last_error) == (DONE, "42 words", None)
    assert found.lease_until is None
    assert list(take(sessions)) == []


def test_after_a_lease_expires_another_worker_takes_over_and_the_first_is_rejected(
    sessions: Sessions,
) -> None:
    add(sessions)
    (frozen,) = take(sessions, lease=EXPIRED)

    (other,) = take(sessions)

    assert (other.id, other.attempts, other.fence) == (frozen.id, 2, 2)
    with sessions.begin() as session:
        assert not finish_job(session, frozen, result="late")
        assert not renew_lease(session, frozen, MINUTE)
        assert not retry_job(session, frozen, "late", RetryPolicy())
    assert only_job(sessions).result is None
    with sessions.begin() as session:
        assert finish_job(session, other, result="in time")
    assert only_job(sessions).result == "in time"


def test_a_late_worker_that_was_not_replaced_may_still_finish(sessions: Sessions) -> None:
    add(sessions)
    (job,) = take(sessions, lease=EXPIRED)

    with sessions.begin() as session:
        assert finish_job(session, job)


def test_a_row_is_finished_once(sessions: Sessions) -> None:
    add(sessions)
    (job,) = take(sessions)

    with sessions.begin() as session:
        assert finish_job(session, job)
        assert not finish_job(session, job, result="again")


def test_a_heartbeat_keeps_the_row(sessions: Sessions) -> None:
    add(sessions)
    (job,) = take(sessions, lease=EXPIRED)

    with sessions.begin() as session:
        assert renew_lease(session, job, MINUTE)

    assert list(take(sessions)) == []
    with sessions.begin() as session:
        assert finish_job(session, job)


def test_a_failure_is_retried_with_growing_delays(sessions: Sessions) -> None:
    add(sessions)
    policy = RetryPolicy(first_delay=10, max_delay=35)
    delays = []

    for _ in range(4):
        (job,) = take(sessions)
        with sessions.begin() as session:
            assert retry_job(session, job, "no answer", policy)
        assert list(take(sessions)) == []
        delays.append(seconds_until(only_job(sessions).run_at))
        with sessions.begin() as session:
            session.execute(sa.update(Job).values(run_at=sa.func.now()))

    for delay, ceiling in zip(delays, (10, 20, 35, 35), strict=True):
        assert ceiling / 2 - 2 < delay <= ceiling
    found = only_job(sessions)
    assert (found.status, found.last_error, found.lease_until) == (PENDING, "no answer", None)


def test_delays_differ_so_that_failures_do_not_come_back_together() -> None:
    policy = RetryPolicy()

    assert len({policy.get_delay(5) for _ in range(20)}) == 20
    assert policy.get_delay(10_000) <= policy.max_delay


def test_a_retry_waits_at_least_the_given_time(sessions: Sessions) -> None:
    add(sessions)
    (job,) = take(sessions)

    with sessions.begin() as session:
        retry_job(session, job, "busy", RetryPolicy(), after=120)

    assert 110 < seconds_until(only_job(sessions).run_at) <= 120


def test_a_row_that_failed_too_often_is_dead_with_its_reason(sessions: Sessions) -> None:
    add(sessions)
    policy = RetryPolicy(max_attempts=2, first_delay=0)

    for error in ("first", "second"):
        (job,) = take(sessions)
        with sessions.begin() as session:
            retry_job(session, job, error, policy)

    found = only_job(sessions)
    assert (found.status, found.attempts, found.last_error) == (DEAD, 2, "second")
    assert list(take(sessions)) == []


def test_a_row_that_kills_every_worker_ends_dead(sessions: Sessions) -> None:
    add(sessions)
    for _ in range(3):
        with sessions.begin() as session:
            assert not mark_exhausted_dead(session, Job, 3, "its worker died")
        (killer,) = take(sessions, lease=EXPIRED)

    with sessions.begin() as session:
        assert mark_exhausted_dead(session, Job, 3, "its worker died") == [killer.id]

    found = only_job(sessions)
    assert (found.status, found.attempts, found.last_error) == (DEAD, 3, "its worker died")
    assert list(take(sessions)) == []


def test_a_row_whose_lease_is_valid_is_not_marked_dead(sessions: Sessions) -> None:
    add(sessions)
    take(sessions)

    with sessions.begin() as session:
        assert not mark_exhausted_dead(session, Job, 1, "its worker died")


def test_rows_with_an_expired_lease_are_distinct_from_waiting_ones(sessions: Sessions) -> None:
    add(sessions)
    (abandoned,) = take(sessions, lease=EXPIRED)
    add(sessions)

    assert [job.id for job in take(sessions, limit=9, only=lease_expired(Job))] == [abandoned.id]
    assert [job.id for job in take(sessions, limit=9, only=is_waiting(Job))] == [abandoned.id + 1]
