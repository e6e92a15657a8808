"""Coming to an end before the end: failing, cancelling, undoing."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from ..models import COMPENSATION, NOTICE, WORK, Step
from . import human_tasks, subworkflows, transitions
from .statuses import (  # fmt: skip
    CANCELLED,
    COMPENSATING,
    DONE,
    FAILED,
    HELD,
    OPEN,
    PENDING,
    WAITING,
    now,
)
from .transaction import RunTransaction

NOT_UNDER_WAY = (PENDING, WAITING, HELD)


def stop_run(tx: RunTransaction, status: str, reason: str | None, by: str | None = None) -> None:
    """The run will be failed or cancelled, as soon as what has to be undone is undone."""
    if tx.run.finished_at or tx.run.ends_as:
        return
    tx.run.ends_as, tx.run.error = status, reason
    cancel_steps(tx, *get_interruptible_statuses(tx, status))
    if will_compensate(tx, status):
        tx.set_status(COMPENSATING, by, error=reason, ends_as=status)
        compensate_next(tx)
    else:
        end_run(tx, status, by, error=reason)


def will_compensate(tx: RunTransaction, status: str = FAILED) -> bool:
    """Whether something would be undone if the run came to this end."""
    wanted = status == CANCELLED or tx.definition.on_failure == "compensate"
    return wanted and any(step.undo for step in tx.definition.steps.values())


def get_interruptible_statuses(tx: RunTransaction, status: str = FAILED) -> tuple[str, ...]:
    """What is under way may have had its effect: to undo that, one has to see how it ends."""
    return NOT_UNDER_WAY if will_compensate(tx, status) else OPEN


def compensate_next(tx: RunTransaction) -> None:
    """Undoes the newest step that is done and not undone; when none is left, the run ends."""
    if tx.run.finished_at:
        return
    tx.session.flush()
    own = select(Step).where(Step.run_id == tx.run.id)
    if tx.session.scalar(own.where(Step.status.in_(OPEN), Step.role != NOTICE).limit(1)):
        return
    undone = aliased(Step)
    undoable = [name for name, step in tx.definition.steps.items() if step.undo]
    attempts = select(undone.id).where(
        undone.run_id == Step.run_id,
        undone.scope == Step.scope,
        undone.name == Step.name,
        undone.role == COMPENSATION,
    )
    left = own.where(
        Step.role == WORK, Step.status == DONE, Step.name.in_(undoable), ~attempts.exists()
    )
    newest = left.order_by(Step.finished_at.desc(), Step.id.desc()).limit(1)
    step = tx.session.scalar(newest)
    if step is None:
        end_run(tx, tx.run.ends_as or FAILED, error=describe_failure(tx))
        return
    undo = tx.definition.steps[step.name].undo
    assert undo is not None
    own_step = tx.add_step(step.name, undo.kind, step.scope, step.item, role=COMPENSATION)
    transitions.prepare_step(tx, own_step, undo.inputs, f"steps.{step.name}.undo.with")


def describe_failure(tx: RunTransaction) -> str | None:
    """Why the run ends early, and what could not be undone."""
    dead = select(Step).where(
        Step.run_id == tx.run.id, Step.status == FAILED, Step.role == COMPENSATION
    )
    left = ", ".join(step.path for step in tx.session.scalars(dead))
    parts = [tx.run.error, f"could not be undone: {left}" if left else None]
    tx.run.error = "; ".join(filter(None, parts)) or None
    return tx.run.error


def cancel_steps(tx: RunTransaction, *statuses: str, inside: Step | None = None) -> None:
    """Whoever works on one is fenced off, and the answer becomes evidence."""
    tx.session.flush()
    found = select(Step).where(
        Step.run_id == tx.run.id, Step.status.in_(statuses), Step.role != NOTICE
    )
    if inside:
        found = found.where(Step.scope.startswith(f"{inside.path}.", autoescape=True))
    steps = tx.session.scalars(found.order_by(Step.id)).all()
    human_tasks.close_tasks(tx, steps, "It is not needed any more")
    for step in steps:
        cancel_step(tx, step)


def cancel_step(tx: RunTransaction, step: Step) -> None:
    subworkflows.cancel_child(tx, step)
    step.fence += 1
    transitions.end_step(tx, step, CANCELLED, None, step.last_error)
    tx.record("step.cancelled", step)


def end_run(tx: RunTransaction, status: str, by: str | None = None, **data: Any) -> None:
    tx.run.finished_at = now()
    tx.set_status(status, by, **data)
    subworkflows.wake_parent(tx)
