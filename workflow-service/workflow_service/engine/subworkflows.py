"""Runs that steps start. Such a step is done when its run is."""

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ..definition.model import raise_for_faults
from ..models import DefinitionVersion, Run, Step
from ..steps.protocol import STEP_TYPES, NonRetryableError, StartSubworkflow, StepMemory
from .events import StartRun, StepFailed, StepFinished, StopRun
from .statuses import CANCELLED, COMPLETED, ENDED, PENDING, RUNNING, WAITING
from .transaction import MAX_CONTROLS_PER_TRANSACTION, RunTransaction, parse_definition

MAX_DEPTH = 5  # of runs in runs
MAX_RUNS_BELOW_ROOT = 1000


class SubworkflowMemory(StepMemory):
    """Remembers the run that an earlier step had started, of a run that is a retry."""

    run_id: UUID


class Lineage(NamedTuple):
    """Tells how deep a run is below the run that a user started."""

    parent_id: UUID
    root_id: UUID
    depth: int


def follow_subworkflow(tx: RunTransaction, step: Step, wanted: StartSubworkflow) -> None:
    """Start the child run, or take over its result."""
    child = find_child(tx, step)
    if child is None:
        child = start_child(tx, step, wanted)
        tx.record("step.child_started", step, workflow_id=str(child.id))
    if child.status == COMPLETED:
        tx.put(StepFinished(step, {"workflow_id": str(child.id), "output": child.output}))
    elif child.status in ENDED:
        tx.put(StepFailed(step, f"workflow {child.id} is {child.status}: {child.error}"))
    else:
        tx.suspend_step(step, None)


def find_child(tx: RunTransaction, step: Step) -> Run | None:
    """Lock the run that the step, or an earlier one that it retries, has started."""
    memory = SubworkflowMemory.load(step)
    is_child = Run.id == memory.run_id if memory else Run.parent_id == step.id
    found = tx.session.scalar(select(Run.id).where(is_child))
    return tx.lock_child(found).run if found else None


def build_lineage(parent: Run, step: Step) -> Lineage:
    return Lineage(step.id, parent.root_id or parent.id, parent.depth + 1)


def start_child(tx: RunTransaction, step: Step, wanted: StartSubworkflow) -> Run:
    """Start a run with the rights and the trace id of this one. Raises NonRetryableError."""
    current = select(DefinitionVersion).filter_by(name=wanted.definition, retired_at=None)
    published = tx.session.scalar(current)
    if published is None:
        raise NonRetryableError(f"there is no definition {wanted.definition}")
    raise_for_faults(parse_definition(published).input.find_faults(wanted.input), NonRetryableError)
    lineage = build_lineage(tx.run, step)
    check_limits(tx, lineage)
    child = Run(
        published=published, definition=published.name, version=published.version, status=RUNNING,
        input=wanted.input, trace_id=tx.run.trace_id, started_by=tx.run.started_by,
        **lineage._asdict(),
    )  # fmt: skip
    tx.session.flush()  # the step, to which the run refers
    tx.session.add(child)
    tx.session.flush()
    joined = tx.join(child)
    # Its control steps go through the queue: runs that start runs could do so without end here.
    joined.controls_evaluated = MAX_CONTROLS_PER_TRANSACTION
    joined.put(StartRun())
    return child


def check_limits(tx: RunTransaction, lineage: Lineage) -> None:
    if lineage.depth > MAX_DEPTH:
        raise NonRetryableError(f"runs start runs at most {MAX_DEPTH} deep")
    root = lineage.root_id
    below = select(func.count()).where(Run.root_id == root)
    if (tx.session.scalar(below) or 0) >= MAX_RUNS_BELOW_ROOT:
        raise NonRetryableError(f"there are {MAX_RUNS_BELOW_ROOT} runs below {root} already")


def wake_parent(session: Session, run: Run) -> None:
    """Make the step due that waits for this run. Its own run need not be locked for that."""
    if run.parent_id is None:
        return
    session.flush()  # the step may be new
    waiting = update(Step).where(Step.id == run.parent_id, Step.status == WAITING)
    awake = waiting.values(status=PENDING, run_at=func.now())
    session.execute(awake, execution_options={"synchronize_session": False})


def cancel_child(tx: RunTransaction, step: Step) -> None:
    """Cancel the run that the step has started, if it has started one that is under way."""
    if not getattr(STEP_TYPES.get(step.kind), "starts_runs", False):
        return
    unfinished = select(Run.id).where(Run.parent_id == step.id, Run.finished_at.is_(None))
    if found := tx.session.scalar(unfinished):
        tx.lock_child(found).put(StopRun(CANCELLED, "The run that had started it has ended"))
