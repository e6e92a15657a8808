"""The queue of record: rows in a service's own table, claimed with a lease and a fencing token.

A worker claims due rows in one short transaction, works, and finishes them in another. When it
crashes or hangs, its lease expires and the next claim takes the row with a higher fencing token;
from then on every write of the old worker is rejected. Celery messages only say that a claim is
worthwhile.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, and_, func, or_, select, true, update
from sqlalchemy.orm import Mapped, Session, mapped_column

PENDING = "pending"
RUNNING = "running"
DONE = "done"
DEAD = "dead"


class QueuedJobMixin:
    """Adds the columns of a queue to a table, which has an `id` of its own."""

    if TYPE_CHECKING:
        id: Mapped[Any]

    status: Mapped[str] = mapped_column(default=PENDING)
    run_at: Mapped[datetime] = mapped_column(default=func.now())
    attempts: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)  # the fencing token: grows with each claim
    last_error: Mapped[str | None]


Job = TypeVar("Job", bound=QueuedJobMixin)
JobTable = type[QueuedJobMixin]


@dataclass(frozen=True)
class RetryPolicy:
    """Spaces out retries: exponential delays with jitter, in seconds."""

    max_attempts: int = 8
    first_delay: float = 1.0
    max_delay: float = 600.0

    def get_delay(self, attempts: int) -> float:
        ceiling = min(self.max_delay, self.first_delay * 2.0 ** min(attempts - 1, 60))
        return random.uniform(ceiling / 2, ceiling)


def is_waiting(table: JobTable) -> ColumnElement[bool]:
    """Match rows that are due and that no worker holds."""
    return and_(table.status == PENDING, table.run_at <= func.now())


def lease_expired(table: JobTable) -> ColumnElement[bool]:
    """Match rows whose worker did not finish in time."""
    return and_(table.status == RUNNING, table.lease_until < func.now())


def is_due(table: JobTable) -> ColumnElement[bool]:
    # Claimed rows also have run_at in the past, so one index serves both cases.
    return and_(table.run_at <= func.now(), or_(is_waiting(table), lease_expired(table)))


def claim_jobs(
    session: Session,
    table: type[Job],
    *,
    limit: int,
    lease: timedelta,
    only: ColumnElement[bool] | None = None,
) -> Sequence[Job]:
    """Claim up to `limit` due rows, oldest first; commit before working on them."""
    due = (
        select(table.id)
        .where(is_due(table), true() if only is None else only)
        .order_by(table.run_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        # A CTE runs once; inside an IN, PostgreSQL may run it for every row and claim them all.
        .cte()
    )
    claimed = (
        update(table)
        .where(table.id == due.c.id)
        .values(
            status=RUNNING,
            attempts=table.attempts + 1,
            fence=table.fence + 1,
            lease_until=func.now() + lease,
        )
        .returning(table)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return session.scalars(claimed).all()


def finish_job(session: Session, job: QueuedJobMixin, status: str = DONE, **values: Any) -> bool:
    """End the claim; return False, and change nothing, when another worker has taken the row."""
    values = {"last_error": None, "lease_until": None, **values}
    return _update_claimed(session, job, status=status, **values)


def retry_job(
    session: Session, job: QueuedJobMixin, error: str, policy: RetryPolicy, after: float = 0
) -> bool:
    """Put the row back, due in at least `after` seconds; after the last attempt it is dead."""
    if job.attempts >= policy.max_attempts:
        return finish_job(session, job, DEAD, last_error=error)
    delay = timedelta(seconds=max(after, policy.get_delay(job.attempts)))
    return finish_job(session, job, PENDING, run_at=func.now() + delay, last_error=error)


def renew_lease(session: Session, job: QueuedJobMixin, lease: timedelta) -> bool:
    """Extend the claim; return False when another worker has taken the row: stop working then."""
    return _update_claimed(session, job, lease_until=func.now() + lease)


def mark_exhausted_dead(
    session: Session, table: JobTable, max_attempts: int, error: str
) -> Sequence[Any]:
    """Give up rows whose last worker did not finish, after `max_attempts`; return their ids.

    Call it before each claim: a row that crashes every worker would be claimed forever otherwise.
    """
    exhausted = and_(lease_expired(table), table.attempts >= max_attempts)
    ended = update(table).where(exhausted).values(status=DEAD, lease_until=None, last_error=error)
    return session.scalars(ended.returning(table.id)).all()


def _update_claimed(session: Session, job: QueuedJobMixin, **values: Any) -> bool:
    table = type(job)
    written = session.execute(
        update(table)
        .where(table.id == job.id, table.fence == job.fence, table.status == RUNNING)
        .values(**values)
        .execution_options(synchronize_session=False)
        .returning(table.id)
    )
    return written.one_or_none() is not None
