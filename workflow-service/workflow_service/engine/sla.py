"""Runs and steps that take longer than their definition allows: a record, notices, an action."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select, union
from sqlalchemy.orm import Session

from chassis.clock import now

from ..definition.model import Sla
from ..models import Run, Step
from . import transitions
from .events import StepFailed, StopRun
from .statuses import CANCELLED, FAILED
from .transaction import RunTransaction, save_transactions
from .unprocessable import attribute_failure

MAX_RUNS_PER_CYCLE = 100


def find_late_runs(session: Session) -> Sequence[UUID]:
    # A UNION uses both indexes; with OR, PostgreSQL would read every run.
    ids = union(select(Run.id).where(is_late(Run)), select(Step.run_id).where(is_late(Step)))
    return session.scalars(ids.limit(MAX_RUNS_PER_CYCLE)).all()


def handle_breaches(session: Session, run_id: UUID) -> None:
    """Handle what is late in a run, unless another transaction holds it: then in the next cycle."""
    held = select(Run).where(Run.id == run_id).with_for_update(key_share=True, skip_locked=True)
    run = session.scalar(held.execution_options(populate_existing=True))
    if run is None:
        return
    with attribute_failure([run_id]):
        tx = RunTransaction(session, run)
        for step in session.scalars(select(Step).where(Step.run_id == run_id, is_late(Step))):
            handle_step_breach(tx, step)
        if run.due_at and not run.breached_at and run.due_at <= now():
            handle_run_breach(tx)
        save_transactions(session, [tx])


def is_late(table: type[Run] | type[Step]) -> ColumnElement[bool]:
    is_open = and_(table.breached_at.is_(None), table.finished_at.is_(None))
    return and_(table.due_at <= func.now(), is_open)


def handle_step_breach(tx: RunTransaction, step: Step) -> None:
    sla = tx.get_step_definition(step).sla
    step.breached_at = now()
    if sla and not tx.run.finished_at:
        reason = record_breach(tx, sla, step)
        if sla.action == "fail":
            transitions.process(tx, StepFailed(step, reason))
        elif sla.action == "cancel":
            transitions.process(tx, StopRun(CANCELLED, f"{step.path}: {reason}"))


def handle_run_breach(tx: RunTransaction) -> None:
    sla = tx.definition.sla
    tx.run.breached_at = now()
    if sla and not tx.run.finished_at:
        reason = record_breach(tx, sla, None)
        if sla.action != "tell":
            status = FAILED if sla.action == "fail" else CANCELLED
            transitions.process(tx, StopRun(status, reason))


def record_breach(tx: RunTransaction, sla: Sla, step: Step | None) -> str:
    """Record that something is late, notify people, and return the reason in words."""
    reason = f"took longer than {timedelta(seconds=sla.seconds)}"
    what = f"{step.path} of {tx.run.definition}" if step else tx.run.definition
    tx.record("sla.breached", step, seconds=sla.seconds, action=sla.action)
    for recipient in sla.tell or [tx.run.started_by]:
        body = f"{what} {reason}. The workflow is {tx.run.id}."
        message = {"recipient_id": recipient, "subject": f"Late: {what}", "body": body}
        tx.add_notice(step, message)
    return reason
