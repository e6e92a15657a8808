"""Ends the claims of a whole batch of deliveries in one statement (see chassis/job_queue.py)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from chassis.job_queue import RUNNING

from ..models import DELIVERED, Delivery


@dataclass(frozen=True)
class JobResult:
    """How a claim ends; with a `delay`, in seconds, the delivery is due again after it."""

    row: Delivery
    status: str = DELIVERED
    error: str | None = None
    delay: float | None = None
    counts: bool = True  # as an attempt, unlike when the delivery was only put back


def finish_jobs(session: Session, results: Sequence[JobResult]) -> set[UUID]:
    """End the claims; return the ids of the deliveries that no other worker has taken since."""
    if not results:
        return set()
    ends = build_values(results)
    # PostgreSQL takes a column of nothing but NULLs for text.
    delay = sa.cast(ends.c.delay, sa.Float) * timedelta(seconds=1)
    is_ours = (
        Delivery.id == sa.cast(ends.c.id, sa.Uuid),
        Delivery.fence == ends.c.fence,
        Delivery.status == RUNNING,
    )
    finished = (
        sa.update(Delivery)
        .where(*is_ours)
        .values(
            status=ends.c.status,
            last_error=ends.c.error,
            lease_until=None,
            run_at=sa.func.coalesce(sa.func.now() + delay, Delivery.run_at),
            attempts=Delivery.attempts - ends.c.uncounted,
        )
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return set(session.scalars(finished))


def build_values(results: Sequence[JobResult]) -> sa.Values:
    columns = (
        sa.column("id", sa.Uuid),
        sa.column("fence", sa.Integer),
        sa.column("status", sa.Text),
        sa.column("error", sa.Text),
        sa.column("delay", sa.Float),
        sa.column("uncounted", sa.Integer),
    )
    rows = [(r.row.id, r.row.fence, r.status, r.error, r.delay, int(not r.counts)) for r in results]
    return sa.values(*columns, name="ends").data(rows)
