"""Runs that steps start: a step of the kind workflow is done when its run is."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update

from ..definition.model import refuse
from ..models import DefinitionVersion, Run, Step
from ..steps.protocol import Launch, Terminal
from . import compensation, transitions
from .statuses import CANCELLED, COMPLETED, ENDED, FOREVER, PENDING, RUNNING, WAITING
from .transaction import Move, parsed

DEEPEST = 5  # a run in a run in a run ...
MOST_RUNS = 1000  # below one that a person started


def launch(move: Move, step: Step, wanted: Launch) -> None:
    """Starts the run, or looks how the one that was started ended."""
    child = child_of(move, step)
    if child is None:
        child = start(move, step, wanted)
        move.record("step.launched", step, workflow_id=str(child.id))
    if child.status == COMPLETED:
        return transitions.finish(
            move, step, {"workflow_id": str(child.id), "output": child.output}
        )
    if child.status in ENDED:
        return transitions.fail(move, step, f"workflow {child.id} is {child.status}: {child.error}")
    step.status, step.run_at, step.lease_until = WAITING, FOREVER, None
    return None


def child_of(move: Move, step: Step) -> Run | None:
    """Held, so that it does not end while we look. Of a retry, it may be one that has ended."""
    ended = step.memory.get("run_id")
    which = Run.id == UUID(ended) if ended else Run.parent_id == step.id
    found = move.session.scalar(select(Run.id).where(which))
    return move.held(found).run if found else None


def below(parent: Run, step: Step) -> dict[str, Any]:
    """Where a run is that a step of another one has started."""
    root_id = parent.root_id or parent.id
    return {"parent_id": step.id, "root_id": root_id, "depth": parent.depth + 1}


def start(move: Move, step: Step, wanted: Launch) -> Run:
    parent, session = move.run, move.session
    current = select(DefinitionVersion).filter_by(name=wanted.definition, retired_at=None)
    published = session.scalar(current)
    if published is None:
        raise Terminal(f"there is no definition {wanted.definition}")
    refuse(parsed(published).input.faults(wanted.input), Terminal)
    root = parent.root_id or parent.id
    if parent.depth >= DEEPEST:
        raise Terminal(f"runs start runs at most {DEEPEST} deep")
    if (session.scalar(select(func.count()).where(Run.root_id == root)) or 0) >= MOST_RUNS:
        raise Terminal(f"there are {MOST_RUNS} runs below {root} already")
    child = Run(
        published=published, definition=published.name, version=published.version, status=RUNNING,
        input=wanted.input, trace_id=parent.trace_id, started_by=parent.started_by,
        **below(parent, step),
    )  # fmt: skip
    session.flush()  # the step, to which the run refers
    session.add(child)
    session.flush()
    other = move.other(child)
    other.decisions = (
        transitions.MOST_DECISIONS
    )  # else runs that start runs would do so without end
    transitions.begin(other)
    return child


def tell_parent(move: Move) -> None:
    """The step that waits for this run is due. Its run need not be held for that."""
    waiting = update(Step).where(Step.id == move.run.parent_id, Step.status == WAITING)
    if move.run.parent_id:
        move.session.execute(
            waiting.values(status=PENDING, run_at=func.now()),
            execution_options={"synchronize_session": False},
        )


def cancel(move: Move, step: Step) -> None:
    """The run that a step has started, when the step is cancelled."""
    unfinished = select(Run.id).where(Run.parent_id == step.id, Run.finished_at.is_(None))
    if step.kind == "workflow" and (found := move.session.scalar(unfinished)):
        compensation.stop(move.held(found), CANCELLED, "The run that had started it has ended")
