"""What a person can do with a run that is under way: hold it, let it go on, end it."""

from collections.abc import Sequence

from sqlalchemy import select

from chassis.errors import Conflict

from ..models import Run, Step
from . import compensation
from .statuses import CANCELLED, HELD, PAUSED, PENDING, RUNNING, WAITING, now, tells
from .transaction import Move


class NotNow(Conflict):
    """The run is in no state for this."""


def pause(move: Move, by: str | None) -> None:
    """No further step starts; those under way end. Timers run on, and wait when they are over."""
    if move.run.status == PAUSED:
        return
    if move.run.status not in (RUNNING, WAITING):
        raise NotNow(f"The run is {move.run.status}")
    move.show_status(PAUSED, by)
    for step in steps_in(move, PENDING):
        step.status = HELD
        move.record("step.held", step, by)
    for child in children(move):
        if child.run.status in (RUNNING, WAITING):
            pause(child, by)


def resume(move: Move, by: str | None) -> None:
    if move.run.status in (RUNNING, WAITING):
        return
    if move.run.status != PAUSED:
        raise NotNow(f"The run is {move.run.status}")
    move.show_status(RUNNING, by)
    for step in steps_in(move, HELD):
        step.status, step.run_at = PENDING, now()
        move.record("step.resumed", step, by)
    for child in children(move):
        if child.run.status == PAUSED:
            resume(child, by)


def cancel(move: Move, by: str | None) -> None:
    """Ends the run; what it did is undone where its definition says how."""
    if CANCELLED in (move.run.status, move.run.ends_as):
        return
    if move.run.finished_at or move.run.ends_as:
        raise NotNow(f"The run is {move.run.status}")
    compensation.stop(move, CANCELLED, None, by)


def steps_in(move: Move, status: str) -> Sequence[Step]:
    move.session.flush()
    found = select(Step).where(Step.run_id == move.run.id, Step.status == status, ~tells(Step))
    return move.session.scalars(found.order_by(Step.id)).all()


def children(move: Move) -> list[Move]:
    below = select(Run.id).join(Step, Run.parent_id == Step.id).where(Step.run_id == move.run.id)
    return [move.held(run_id) for run_id in move.session.scalars(below)]
