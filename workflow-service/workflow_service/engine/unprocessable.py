"""Runs that the engine cannot move: their definition cannot be read, or there is a fault in it.

Such a run fails, and stops no other one. See Worker._recover in worker.py.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from chassis.clock import now
from chassis.errors import is_transient

from ..models import Event, Step, Task
from .statuses import CANCELLED, FAILED, OPEN, TASK_CLOSED, TASK_OPEN
from .subworkflows import wake_parent
from .transaction import lock_runs

UNPROCESSABLE_REASON = "cannot be moved; the log says why"


class UnprocessableRun(Exception):
    """Raised when moving a run fails although the database works."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(str(run_id))
        self.run_id = run_id


@contextmanager
def attribute_failure(runs: Collection[UUID]) -> Iterator[None]:
    """With a single run in the batch, raise UnprocessableRun for it; larger ones are repeated."""
    try:
        yield
    except Exception as error:
        if len(runs) != 1 or is_database_unavailable(error):
            raise
        raise UnprocessableRun(*runs) from error


def is_database_unavailable(error: Exception) -> bool:
    """Tell whether the database is away, or cannot do it at the moment."""
    return isinstance(error, DBAPIError) and is_transient(error)


def fail_unprocessable_run(session: Session, run_id: UUID) -> None:
    """Fail a run without its definition, which may be the reason."""
    (run,) = lock_runs(session, [run_id])
    lines: list[dict[str, Any]] = []
    for step in session.scalars(select(Step).where(Step.run_id == run_id, Step.status.in_(OPEN))):
        step.status = CANCELLED
        step.fence += 1
        step.finished_at = now()
        lines.append({"type": "step.cancelled", "step_id": step.id, "step": step.path, "data": {}})
    for task in session.scalars(select(Task).filter_by(workflow_id=run_id, status=TASK_OPEN)):
        task.status = TASK_CLOSED
        task.decided_at = now()
        task.reason = UNPROCESSABLE_REASON
        about = {"task_id": str(task.id), "reason": UNPROCESSABLE_REASON}
        lines.append({"type": "task.closed", "step_id": task.step_id, "data": about})
    run.status = FAILED
    run.finished_at = now()
    run.error = UNPROCESSABLE_REASON
    lines.append({"type": "run.failed", "data": {"error": run.error}})
    session.add_all(Event(run_id=run_id, **line) for line in lines)
    wake_parent(session, run)
