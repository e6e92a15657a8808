"""Coming to an end before the end: failing, cancelling, undoing."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import aliased

from ..models import Step
from . import human_tasks, subworkflows, transitions
from .statuses import (  # fmt: skip
    CANCELLED,
    COMPENSATING,
    DEAD,
    DONE,
    FAILED,
    HELD,
    OPEN,
    PENDING,
    UNDO,
    WAITING,
    now,
    tells,
)
from .transaction import Move

UNTOUCHED = (PENDING, WAITING, HELD)


def stop(move: Move, status: str, reason: str | None, by: str | None = None) -> None:
    """The run will be failed or cancelled, as soon as what has to be undone is undone."""
    if move.run.finished_at or move.run.ends_as:
        return
    move.run.ends_as, move.run.error = status, reason
    cancel_steps(move, *interrupted(move, status))
    if undoes(move, status):
        move.show_status(COMPENSATING, by, error=reason, ends_as=status)
        wind_down(move)
    else:
        end_run(move, status, by, error=reason)


def undoes(move: Move, status: str = FAILED) -> bool:
    """Whether something would be undone if the run came to this end."""
    wanted = status == CANCELLED or move.definition.on_failure == "compensate"
    return wanted and any(step.undo for step in move.definition.steps.values())


def interrupted(move: Move, status: str = FAILED) -> tuple[str, ...]:
    """What is under way may have had its effect: to undo that, one has to see how it ends."""
    return UNTOUCHED if undoes(move, status) else OPEN


def wind_down(move: Move) -> None:
    """Undoes the newest step that is done and not undone; when none is left, the run ends."""
    if move.run.finished_at:
        return
    move.session.flush()
    own = select(Step).where(Step.run_id == move.run.id)
    if move.session.scalar(own.where(Step.status.in_(OPEN), ~tells(Step)).limit(1)):
        return
    undone = aliased(Step)
    undoable = [name for name, step in move.definition.steps.items() if step.undo]
    attempts = select(undone.id).where(
        undone.run_id == Step.run_id,
        undone.scope == Step.scope,
        undone.name == Step.name + UNDO,
    )
    left = own.where(Step.status == DONE, Step.name.in_(undoable), ~attempts.exists())
    newest = left.order_by(Step.finished_at.desc(), Step.id.desc()).limit(1)
    step = move.session.scalar(newest)
    if step is None:
        end_run(move, move.run.ends_as or FAILED, error=failure(move))
        return
    undo = move.definition.steps[step.name].undo
    assert undo is not None
    own_step = move.put(step.name + UNDO, undo.kind, step.scope, step.item)
    transitions.prepare(move, own_step, undo.inputs, f"steps.{step.name}.undo.with")


def failure(move: Move) -> str | None:
    """Why the run ends early, and what could not be undone."""
    dead = select(Step).where(
        Step.run_id == move.run.id, Step.status == DEAD, Step.name.endswith(UNDO)
    )
    left = ", ".join(step.path.removesuffix(UNDO) for step in move.session.scalars(dead))
    parts = [move.run.error, f"could not be undone: {left}" if left else None]
    move.run.error = "; ".join(filter(None, parts)) or None
    return move.run.error


def cancel_steps(move: Move, *statuses: str, inside: Step | None = None) -> None:
    """Whoever works on one is fenced off, and the answer becomes evidence."""
    move.session.flush()
    found = select(Step).where(Step.run_id == move.run.id, Step.status.in_(statuses), ~tells(Step))
    if inside:
        found = found.where(Step.scope.startswith(f"{inside.path}.", autoescape=True))
    steps = move.session.scalars(found.order_by(Step.id)).all()
    human_tasks.close_tasks(move, steps, "It is not needed any more")
    for step in steps:
        cancel_step(move, step)


def cancel_step(move: Move, step: Step) -> None:
    subworkflows.cancel(move, step)
    step.fence += 1
    transitions.end(move, step, CANCELLED, None, step.last_error)
    move.record("step.cancelled", step)


def end_run(move: Move, status: str, by: str | None = None, **data: Any) -> None:
    move.run.finished_at = now()
    move.show_status(status, by, **data)
    subworkflows.tell_parent(move)
