"""What takes longer than its definition allows: it is noted, somebody is told, and more."""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, select, union_all
from sqlalchemy.orm import Session

from ..models import Run, Step
from . import ending, flow
from .definition import Sla
from .runs import Move, write
from .states import CANCELLED, FAILED, now

MOST_AT_ONCE = 100  # runs, each second


def sweep(session: Session) -> None:
    """Runs that somebody else moves just now are for the next time."""
    late_steps = select(Step.id).where(Step.run_id == Run.id, is_late(Step))
    # A union, since with OR PostgreSQL would look at every run there is.
    ids = union_all(
        select(Run.id).where(is_late(Run)), select(Step.run_id).where(is_late(Step))
    ).subquery()
    late = (
        select(Run)
        .where(Run.id.in_(select(ids.c.id)))
        .limit(MOST_AT_ONCE)
        .with_for_update(key_share=True, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    moves = [Move(session, run) for run in session.scalars(late)]
    for move in moves:
        for step in session.scalars(select(Step).where(Step.id.in_(late_steps), of(move))):
            breach_of_step(move, step)
        if move.run.due_at and not move.run.breached_at and move.run.due_at <= now():
            breach_of_run(move)
    write(session, moves)


def of(move: Move) -> ColumnElement[bool]:
    return Step.run_id == move.run.id


def is_late(table: type[Run] | type[Step]) -> ColumnElement[bool]:
    return and_(
        table.due_at <= func.now(), table.breached_at.is_(None), table.finished_at.is_(None)
    )


def breach_of_step(move: Move, step: Step) -> None:
    sla = move.defined(step).sla
    step.breached_at = now()
    if sla and not move.run.finished_at:
        reason = note(move, sla, step)
        if sla.action == "fail":
            flow.fail(move, step, reason)
        elif sla.action == "cancel":
            ending.stop(move, CANCELLED, f"{step.path}: {reason}")


def breach_of_run(move: Move) -> None:
    sla = move.definition.sla
    move.run.breached_at = now()
    if sla and not move.run.finished_at:
        reason = note(move, sla, None)
        if sla.action != "tell":
            ending.stop(move, FAILED if sla.action == "fail" else CANCELLED, reason)


def note(move: Move, sla: Sla, step: Step | None) -> str:
    """The reason, in words; also for those who are told."""
    reason = f"took longer than {timedelta(seconds=sla.seconds)}"
    what = f"{step.path} of {move.run.definition}" if step else move.run.definition
    move.record("sla.breached", step, seconds=sla.seconds, action=sla.action)
    for recipient in sla.tell or [move.run.started_by]:
        body = f"{what} {reason}. The workflow is {move.run.id}."
        flow.tell(move, step, {"recipient_id": recipient, "subject": f"Late: {what}", "body": body})
    return reason
