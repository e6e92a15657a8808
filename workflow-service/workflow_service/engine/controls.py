"""What a user can do with a run that is under way: pause it, resume it, cancel it."""

from collections.abc import Sequence

from sqlalchemy import select

from chassis.clock import now
from chassis.errors import Conflict

from ..models import NOTICE, Run, Step
from . import transitions
from .events import StopRun
from .statuses import CANCELLED, HELD, PAUSED, PENDING, RUNNING, WAITING
from .transaction import RunTransaction


class InvalidRunStatus(Conflict):
    """Raised when the status of the run does not allow the operation."""


def pause_run(tx: RunTransaction, by: str | None) -> None:
    """Start no further step; those under way end. A timer that passes meanwhile waits, too."""
    if tx.run.status == PAUSED:
        return
    if tx.run.status not in (RUNNING, WAITING):
        raise InvalidRunStatus(f"The run is {tx.run.status}")
    tx.set_status(PAUSED, by)
    for step in find_steps(tx, PENDING):
        step.status = HELD
        tx.record("step.held", step, by)
    for child in lock_children(tx):
        if child.run.status in (RUNNING, WAITING):
            pause_run(child, by)


def resume_run(tx: RunTransaction, by: str | None) -> None:
    """Let the steps that were held go on."""
    if tx.run.status in (RUNNING, WAITING):
        return
    if tx.run.status != PAUSED:
        raise InvalidRunStatus(f"The run is {tx.run.status}")
    tx.set_status(RUNNING, by)
    for step in find_steps(tx, HELD):
        step.status = PENDING
        step.run_at = now()
        tx.record("step.resumed", step, by)
    for child in lock_children(tx):
        if child.run.status == PAUSED:
            resume_run(child, by)


def cancel_run(tx: RunTransaction, by: str | None) -> None:
    """End the run; what it did is undone where its definition says how."""
    if CANCELLED in (tx.run.status, tx.run.ends_as):
        return
    if tx.run.finished_at or tx.run.ends_as:
        raise InvalidRunStatus(f"The run is {tx.run.status}")
    transitions.process(tx, StopRun(CANCELLED, None, by))


def find_steps(tx: RunTransaction, status: str) -> Sequence[Step]:
    tx.session.flush()
    found = select(Step).where(Step.run_id == tx.run.id, Step.status == status, Step.role != NOTICE)
    return tx.session.scalars(found.order_by(Step.id)).all()


def lock_children(tx: RunTransaction) -> list[RunTransaction]:
    below = select(Run.id).join(Step, Run.parent_id == Step.id).where(Step.run_id == tx.run.id)
    return [tx.lock_child(run_id) for run_id in tx.session.scalars(below)]
