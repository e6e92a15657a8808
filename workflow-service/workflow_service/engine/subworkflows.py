"""Runs that steps start: a step of the kind workflow is done when its run is."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from ..definition.model import raise_for_faults
from ..models import DefinitionVersion, Run, Step
from ..steps.protocol import NonRetryableError, StartSubworkflow
from . import compensation, transitions
from .statuses import CANCELLED, COMPLETED, ENDED, NEVER, PENDING, RUNNING, WAITING
from .transaction import RunTransaction, parse_definition

MAX_DEPTH = 5  # a run in a run in a run ...
MAX_RUNS_BELOW_ROOT = 1000  # below one that a person started


def follow_subworkflow(tx: RunTransaction, step: Step, wanted: StartSubworkflow) -> None:
    """Starts the run, or looks how the one that was started ended."""
    child = find_child(tx, step)
    if child is None:
        child = start_child(tx, step, wanted)
        tx.record("step.child_started", step, workflow_id=str(child.id))
    if child.status == COMPLETED:
        return transitions.finish_step(
            tx, step, {"workflow_id": str(child.id), "output": child.output}
        )
    if child.status in ENDED:
        return transitions.fail_step(
            tx, step, f"workflow {child.id} is {child.status}: {child.error}"
        )
    step.status, step.run_at, step.lease_until = WAITING, NEVER, None
    return None


def find_child(tx: RunTransaction, step: Step) -> Run | None:
    """Held, so that it does not end while we look. Of a retry, it may be one that has ended."""
    ended = step.memory.get("run_id")
    which = Run.id == UUID(ended) if ended else Run.parent_id == step.id
    found = tx.session.scalar(select(Run.id).where(which))
    return tx.lock_child(found).run if found else None


def build_lineage(parent: Run, step: Step) -> dict[str, Any]:
    """Where a run is that a step of another one has started."""
    root_id = parent.root_id or parent.id
    return {"parent_id": step.id, "root_id": root_id, "depth": parent.depth + 1}


def start_child(tx: RunTransaction, step: Step, wanted: StartSubworkflow) -> Run:
    parent, session = tx.run, tx.session
    current = select(DefinitionVersion).filter_by(name=wanted.definition, retired_at=None)
    published = session.scalar(current)
    if published is None:
        raise NonRetryableError(f"there is no definition {wanted.definition}")
    raise_for_faults(parse_definition(published).input.find_faults(wanted.input), NonRetryableError)
    root = parent.root_id or parent.id
    if parent.depth >= MAX_DEPTH:
        raise NonRetryableError(f"runs start runs at most {MAX_DEPTH} deep")
    if (
        session.scalar(select(func.count()).where(Run.root_id == root)) or 0
    ) >= MAX_RUNS_BELOW_ROOT:
        raise NonRetryableError(f"there are {MAX_RUNS_BELOW_ROOT} runs below {root} already")
    child = Run(
        published=published, definition=published.name, version=published.version, status=RUNNING,
        input=wanted.input, trace_id=parent.trace_id, started_by=parent.started_by,
        **build_lineage(parent, step),
    )  # fmt: skip
    session.flush()  # the step, to which the run refers
    session.add(child)
    session.flush()
    other = tx.join(child)
    other.controls_evaluated = (
        transitions.MAX_CONTROLS_PER_TRANSACTION
    )  # else runs that start runs would do so without end
    transitions.start_run(other)
    return child


def wake_parent(tx: RunTransaction) -> None:
    """The step that waits for this run is due. Its run need not be held for that."""
    waiting = update(Step).where(Step.id == tx.run.parent_id, Step.status == WAITING)
    if tx.run.parent_id:
        tx.session.execute(
            waiting.values(status=PENDING, run_at=func.now()),
            execution_options={"synchronize_session": False},
        )


def cancel_child(tx: RunTransaction, step: Step) -> None:
    """The run that a step has started, when the step is cancelled."""
    unfinished = select(Run.id).where(Run.parent_id == step.id, Run.finished_at.is_(None))
    if step.kind == "workflow" and (found := tx.session.scalar(unfinished)):
        compensation.stop_run(
            tx.lock_child(found), CANCELLED, "The run that had started it has ended"
        )
