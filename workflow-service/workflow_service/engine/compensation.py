"""What has to be undone before a run ends early, one step after another, newest first."""

from sqlalchemy import Select, select
from sqlalchemy.orm import aliased

from ..models import COMPENSATION, NOTICE, WORK, Step
from .statuses import CANCELLED, DONE, FAILED, HELD, OPEN, PENDING, WAITING
from .transaction import RunTransaction

NOT_UNDER_WAY = (PENDING, WAITING, HELD)


def will_compensate(tx: RunTransaction, status: str) -> bool:
    """Tell whether steps would be undone if the run ended with this status."""
    is_wanted = status == CANCELLED or tx.definition.on_failure == "compensate"
    return is_wanted and any(step.undo for step in tx.definition.steps.values())


def get_interruptible_statuses(tx: RunTransaction, status: str) -> tuple[str, ...]:
    """Return which steps to cancel; the result of one under way is awaited if it may be undone."""
    return NOT_UNDER_WAY if will_compensate(tx, status) else OPEN


def has_open_steps(tx: RunTransaction) -> bool:
    tx.session.flush()
    still_open = select_steps(tx).where(Step.status.in_(OPEN), Step.role != NOTICE)
    return tx.session.scalar(still_open.limit(1)) is not None


def find_next_to_undo(tx: RunTransaction) -> Step | None:
    """Return the step that was done last, of those that have an `undo` and were not undone."""
    undone = aliased(Step)
    undoable = [name for name, step in tx.definition.steps.items() if step.undo]
    same = [undone.run_id == Step.run_id, undone.scope == Step.scope, undone.name == Step.name]
    attempts = select(undone.id).where(*same, undone.role == COMPENSATION)
    done = select_steps(tx).where(Step.role == WORK, Step.status == DONE)
    left = done.where(Step.name.in_(undoable), ~attempts.exists())
    return tx.session.scalar(left.order_by(Step.finished_at.desc(), Step.id.desc()).limit(1))


def describe_failure(tx: RunTransaction) -> str | None:
    """Return why the run ends early, and which steps could not be undone."""
    failed = select_steps(tx).where(Step.status == FAILED, Step.role == COMPENSATION)
    left = ", ".join(step.path for step in tx.session.scalars(failed))
    parts = [tx.run.error, f"could not be undone: {left}" if left else None]
    return "; ".join(filter(None, parts)) or None


def select_steps(tx: RunTransaction) -> Select[Step]:
    return select(Step).where(Step.run_id == tx.run.id)
