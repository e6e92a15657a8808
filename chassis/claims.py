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

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

PENDING, RUNNING, DONE, DEAD = "pending", "running", "done", "dead"

Row = TypeVar("Row")


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential with jitter, up to a number of attempts. Delays are in seconds."""

    max_attempts: int = 8
    first_delay: float = 1.0
    longest_delay: float = 600.0

    def delay(self, attempts: int) -> float:
        ceiling = min(self.longest_delay, self.first_delay * 2.0 ** min(attempts - 1, 60))
        return random.uniform(ceiling / 2, ceiling)


def is_due(table: Any) -> ColumnElement[bool]:
    """Waiting and due, or claimed by a worker whose lease ran out."""
    return or_(
        and_(table.status == PENDING, table.run_at <= func.now()),
        and_(table.status == RUNNING, table.lease_until < func.now()),
    )


def claim(
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


def finish(session: Session, row: Any, status: str = DONE, **values: Any) -> bool:
    """Ends the claim; False, and nothing changed, when another worker has taken the row since."""
    values = {"last_error": None, "lease_until": None, **values}
    return _write(session, row, status=status, **values)


def retry(session: Session, row: Any, error: str, policy: RetryPolicy, after: float = 0) -> bool:
    """Puts the row back with a delay of at least `after` seconds, or to rest when tried enough."""
    if row.attempts >= policy.max_attempts:
        return finish(session, row, DEAD, last_error=error)
    delay = timedelta(seconds=max(after, policy.delay(row.attempts)))
    return finish(session, row, PENDING, run_at=func.now() + delay, last_error=error)


def renew(session: Session, row: Any, lease: timedelta) -> bool:
    """A heartbeat; False when the row was taken over, and the work should stop."""
    return _write(session, row, lease_until=func.now() + lease)


def _write(session: Session, row: Any, **values: Any) -> bool:
    queue = type(row)
    written = session.execute(
        update(queue)
        .where(queue.id == row.id, queue.fence == row.fence, queue.status == RUNNING)
        .values(**values)
        .execution_options(synchronize_session=False)
        .returning(queue.id)
    )
    return written.one_or_none() is not None
