"""The queue of record: rows in the service's own table, claimed with a lease and a fence.

A queue table has the columns id, status, run_at, attempts, lease_until, fence and last_error.
A worker claims due rows in one short transaction, works, and finishes them in another. Should it
die or freeze, its lease runs out, the next claim takes the row with a higher fence, and whatever
the old worker still says is refused. Celery messages only hint that a claim is worth while.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

PENDING, RUNNING, DONE, DEAD = "pending", "running", "done", "dead"

Row = TypeVar("Row")


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential with jitter, up to a number of attempts. Delays are in seconds."""

    max_attempts: int = 8
    first_delay: float = 1.0
    max_delay: float = 600.0

    def get_delay(self, attempts: int) -> float:
        ceiling = min(self.max_delay, self.first_delay * 2.0 ** min(attempts - 1, 60))
        return random.uniform(ceiling / 2, ceiling)


def is_waiting(table: Any) -> ColumnElement[bool]:
    """Nobody's, and due."""
    return and_(table.status == PENDING, table.run_at <= func.now())


def lease_expired(table: Any) -> ColumnElement[bool]:
    """Claimed by a worker whose lease ran out."""
    return and_(table.status == RUNNING, table.lease_until < func.now())


def is_due(table: Any) -> ColumnElement[bool]:
    # What was claimed was due then: run_at holds for both, so that an index on it is enough.
    return and_(table.run_at <= func.now(), or_(is_waiting(table), lease_expired(table)))


def claim_jobs(
    session: Session, table: type[Row], *, limit: int, lease: timedelta, only: Any = True
) -> Sequence[Row]:
    """Takes up to `limit` due rows, oldest first; commit before working on them."""
    queue: Any = table
    due = (
        select(queue.id)
        .where(is_due(queue), only)
        .order_by(queue.run_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte()  # run once; inside an IN, PostgreSQL may run it for every row and take them all
    )
    taken = (
        update(queue)
        .where(queue.id == due.c.id)
        .values(
            status=RUNNING,
            attempts=queue.attempts + 1,
            fence=queue.fence + 1,
            lease_until=func.now() + lease,
        )
        .returning(queue)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return session.scalars(taken).all()


def finish_job(session: Session, row: Any, status: str = DONE, **values: Any) -> bool:
    """Ends the claim; False, and nothing changed, when another worker has taken the row since."""
    values = {"last_error": None, "lease_until": None, **values}
    return _update_claimed(session, row, status=status, **values)


def retry_job(
    session: Session, row: Any, error: str, policy: RetryPolicy, after: float = 0
) -> bool:
    """Puts the row back with a delay of at least `after` seconds, or to rest when tried enough."""
    if row.attempts >= policy.max_attempts:
        return finish_job(session, row, DEAD, last_error=error)
    delay = timedelta(seconds=max(after, policy.get_delay(row.attempts)))
    return finish_job(session, row, PENDING, run_at=func.now() + delay, last_error=error)


def renew_lease(session: Session, row: Any, lease: timedelta) -> bool:
    """A heartbeat; False when the row was taken over, and the work should stop."""
    return _update_claimed(session, row, lease_until=func.now() + lease)


def mark_exhausted_dead(
    session: Session, table: Any, max_attempts: int, error: str
) -> Sequence[Any]:
    """The ids of rows that are dead now: tried so often, and the last worker did not come back.

    To be called before a claim, or a row that kills whoever works on it would do so forever.
    """
    hopeless = and_(lease_expired(table), table.attempts >= max_attempts)
    ended = update(table).where(hopeless).values(status=DEAD, lease_until=None, last_error=error)
    return session.scalars(ended.returning(table.id)).all()


@dataclass(frozen=True)
class JobResult:
    """How a claim ends. With `delay`, in seconds, it is due again then; see `settle`."""

    row: Any
    status: str = DONE
    error: str | None = None
    delay: float | None = None
    counts: bool = True  # or the attempt was none, as when the row was only put back


def finish_jobs(session: Session, table: Any, verdicts: Sequence[JobResult]) -> set[Any]:
    """Ends many claims in one statement; the ids of those that were still the caller's."""
    if not verdicts:
        return set()
    columns: dict[str, tuple[sa.types.TypeEngine[Any], list[Any]]] = {
        "id": (table.id.type, [verdict.row.id for verdict in verdicts]),
        "fence": (sa.Integer(), [verdict.row.fence for verdict in verdicts]),
        "status": (sa.Text(), [verdict.status for verdict in verdicts]),
        "error": (sa.Text(), [verdict.error for verdict in verdicts]),
        "delay": (sa.Float(), [verdict.delay for verdict in verdicts]),
        "uncounted": (sa.Integer(), [int(not verdict.counts) for verdict in verdicts]),
    }
    lists = [sa.cast(values, sa.ARRAY(kind)) for kind, values in columns.values()]
    named = [sa.column(name, kind) for name, (kind, _) in columns.items()]
    ends = func.unnest(*lists).table_valued(*named).render_derived(name="ends").c
    later = func.now() + ends.delay * timedelta(seconds=1)
    settled = (
        update(table)
        .where(table.id == ends.id, table.fence == ends.fence, table.status == RUNNING)
        .values(
            status=ends.status,
            last_error=ends.error,
            lease_until=None,
            run_at=func.coalesce(later, table.run_at),
            attempts=table.attempts - ends.uncounted,
        )
        .returning(table.id)
        .execution_options(synchronize_session=False)
    )
    return set(session.scalars(settled))


def _update_claimed(session: Session, row: Any, **values: Any) -> bool:
    queue = type(row)
    written = session.execute(
        update(queue)
        .where(queue.id == row.id, queue.fence == row.fence, queue.status == RUNNING)
        .values(**values)
        .execution_options(synchronize_session=False)
        .returning(queue.id)
    )
    return written.one_or_none() is not None
