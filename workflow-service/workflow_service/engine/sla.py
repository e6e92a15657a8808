"""What takes longer than its definition allows: it is noted, somebody is told, and more."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, union
from sqlalchemy.orm import Session

from ..definition.model import Sla
from ..models import Run, Step
from . import compensation, transitions
from .execution import blaming
from .statuses import CANCELLED, FAILED, now
from .transaction import Move, write

MOST_AT_ONCE = 100  # runs, each second


def late_runs(session: Session) -> Sequence[UUID]:
    # A union, since with OR PostgreSQL would look at every run there is.
    ids = union(select(Run.id).where(is_late(Run)), select(Step.run_id).where(is_late(Step)))
    return session.scalars(ids.limit(MOST_AT_ONCE)).all()


def breach(session: Session, run_id: UUID) -> None:
    """Nothing when somebody else moves the run just now: then it is for the next time."""
    held = select(Run).where(Run.id == run_id).with_for_update(key_share=True, skip_locked=True)
    run = session.scalar(held.execution_options(populate_existing=True))
    if run is None:
        return
    with blaming([run_id]):
        move = Move(session, run)
        for step in session.scalars(select(Step).where(Step.run_id == run_id, is_late(Step))):
            breach_of_step(move, step)
        if run.due_at and not run.breached_at and run.due_at <= now():
            breach_of_run(move)
        write(session, [move])


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
            transitions.fail(move, step, reason)
        elif sla.action == "cancel":
            compensation.stop(move, CANCELLED, f"{step.path}: {reason}")


def breach_of_run(move: Move) -> None:
    sla = move.definition.sla
    move.run.breached_at = now()
    if sla and not move.run.finished_at:
        reason = note(move, sla, None)
        if sla.action != "tell":
            compensation.stop(move, FAILED if sla.action == "fail" else CANCELLED, reason)


def note(move: Move, sla: Sla, step: Step | None) -> str:
    """The reason, in words; also for those who are told."""
    reason = f"took longer than {timedelta(seconds=sla.seconds)}"
    what = f"{step.path} of {move.run.definition}" if step else move.run.definition
    move.record("sla.breached", step, seconds=sla.seconds, action=sla.action)
    for recipient in sla.tell or [move.run.started_by]:
        body = f"{what} {reason}. The workflow is {move.run.id}."
        transitions.tell(
            move, step, {"recipient_id": recipient, "subject": f"Late: {what}", "body": body}
        )
    return reason
