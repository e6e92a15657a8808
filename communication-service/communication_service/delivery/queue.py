"""Ends the claims of a whole batch of deliveries in one statement (see chassis/job_queue.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from chassis.job_queue import RUNNING

from ..models import DELIVERED, Delivery

RESULT_TYPES: dict[str, TypeEngine[Any]] = {
    "id": sa.Uuid(), "fence": sa.Integer(), "status": sa.Text(),
    "error": sa.Text(), "delay": sa.Float(), "uncounted": sa.Integer(),
}  # fmt: skip


@dataclass(frozen=True)
class JobResult:
    """Says how a claim ends; after a `delay`, in seconds, the delivery is due again."""

    row: Delivery
    status: str = DELIVERED
    error: str | None = None
    delay: float | None = None
    counts: bool = True  # as an attempt, unlike when the delivery was only put back


def finish_jobs(session: Session, results: Sequence[JobResult]) -> set[UUID]:
    """Ends the claims; returns the ids of the deliveries that no other worker has taken since."""
    if not results:
        return set()
    rows = [
        {
            "id": str(result.row.id),
            "fence": result.row.fence,
            "status": result.status,
            "error": result.error,
            "delay": result.delay,
            "uncounted": int(not result.counts),
        }
        for result in results
    ]
    ends = build_table("ends", rows, RESULT_TYPES).c
    run_at = sa.func.now() + ends.delay * timedelta(seconds=1)
    finished = (
        sa.update(Delivery)
        .where(Delivery.id == ends.id, Delivery.fence == ends.fence, Delivery.status == RUNNING)
        .values(
            status=ends.status,
            last_error=ends.error,
            lease_until=None,
            run_at=sa.func.coalesce(run_at, Delivery.run_at),
            attempts=Delivery.attempts - ends.uncounted,
        )
        .returning(Delivery.id)
        .execution_options(synchronize_session=False)
    )
    return set(session.scalars(finished))


def build_table(
    name: str, rows: Sequence[dict[str, Any]], types: Mapping[str, TypeEngine[Any]]
) -> sa.TableValuedAlias:
    """Returns rows as a table for an UPDATE; as JSON, since VALUES would be compiled each time."""
    columns = [sa.column(column, column_type) for column, column_type in types.items()]
    table = sa.func.json_to_recordset(sa.literal(rows, sa.JSON)).table_valued(*columns)
    return table.render_derived(name=name, with_types=True)
