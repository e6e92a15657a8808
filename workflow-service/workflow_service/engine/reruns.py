"""Retries and reruns: a new run that takes over what an ended run has done.

A run that has ended never moves again; the new one names it in `retry_of`.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from chassis.errors import Conflict, Unprocessable

from ..definition.paths import StepPath, find_enclosing
from ..models import COMPENSATION, NOTICE, DefinitionVersion, Run, Step
from . import fan_out, scheduling, subworkflows, transitions
from .controls import InvalidRunStatus
from .events import EnterStep, StepLeft
from .fan_out import FanOutMemory
from .statuses import COMPLETED, DONE, FAILED, RUNNING
from .subworkflows import SubworkflowMemory
from .transaction import RunTransaction, save_transactions


class BusinessKeyTaken(Conflict):
    """Raised when another run has the business key."""


@dataclass(frozen=True)
class Successor:
    """Says what the new run is: of which version, for whom, and the step that waits for it."""

    published: DefinitionVersion
    trace_id: str
    by: str
    parent_step: Step | None = None


def retry_run(session: Session, old: Run, wanted: Successor) -> Run:
    """Start a run that goes on where the old one failed or was cancelled.

    A step that failed keeps its idempotency key, since it may have had its effect. A run whose
    steps were undone begins from the start.
    """
    if not old.finished_at or old.status == COMPLETED:
        hint = "only one that failed or was cancelled is retried"
        raise InvalidRunStatus(f"The run is {old.status}: {hint}")
    tx = create_successor(session, old, wanted)
    steps = load_steps(session, old)
    if not steps or any(step.role == COMPENSATION for step in steps):
        transitions.process(tx, EnterStep(tx.definition.start))
    else:
        restore_progress(tx, old, steps, wanted.by)
    save_transactions(session, [tx])
    return tx.run


def rerun_from_step(session: Session, old: Run, wanted: Successor, from_step: str | None) -> Run:
    """Start a run that repeats the old one from a step of the main branch, or from the start."""
    if not old.finished_at:
        raise InvalidRunStatus(f"The run is {old.status}: wait for its end, or cancel it")
    tx = create_successor(session, old, wanted)
    first = from_step or tx.definition.start
    main = tx.definition.get_branch(tx.definition.start)
    steps = load_steps(session, old)
    if first not in main or not any(step.path == first for step in steps):
        raise Unprocessable.for_field("from_step", f"the run did not come to a step {first}")
    before = {name for name in main - {first} if first in tx.definition.get_branch(name)}
    steps = [step for step in steps if step.position.root in before]
    for step in steps:
        if step.role == COMPENSATION:
            reason = f"{step.path}, which comes before it, was undone"
            raise Unprocessable.for_field("from_step", reason)
    for step in filter(has_result, steps):
        copy_step(tx, step)
    transitions.process(tx, EnterStep(first))
    save_transactions(session, [tx])
    return tx.run


def create_successor(session: Session, old: Run, wanted: Successor) -> RunTransaction:
    """Add the new run. It has the business key of the old one only if that one failed."""
    published = wanted.published
    run = Run(
        id=uuid7(), published=published, definition=published.name, version=published.version,
        status=RUNNING, input=old.input, trace_id=wanted.trace_id, started_by=old.started_by,
        retry_of=old.id, business_key=old.business_key if old.status != COMPLETED else None,
    )  # fmt: skip
    if step := wanted.parent_step:
        parent = session.get_one(Run, step.run_id)
        for column, value in subworkflows.build_lineage(parent, step)._asdict().items():
            setattr(run, column, value)
    session.add(run)
    try:
        session.flush()
    except IntegrityError as error:
        raise BusinessKeyTaken("Another run has the business key of this one by now") from error
    tx = RunTransaction(session, run)
    transitions.note_start(tx, wanted.by)
    return tx


def load_steps(session: Session, run: Run) -> list[Step]:
    steps = select(Step).where(Step.run_id == run.id, Step.role != NOTICE)
    return [*session.scalars(steps.order_by(Step.id))]


def has_result(step: Step) -> bool:
    """Tell whether later steps could go on with the step: it is done, or `on_failure: continue`."""
    return step.status == DONE or (step.status == FAILED and step.output is not None)


@dataclass
class Progress:
    """Sorts the steps of an ended run into those to copy and those to repeat."""

    steps: dict[str, list[Step]]  # by the scope of the branch that they are in
    branches: dict[StepPath | None, list[str]]  # their scopes, by the step that they belong to
    done: list[Step] = field(default_factory=list)
    fan_outs: list[Step] = field(default_factory=list)
    unfinished: list[Step] = field(default_factory=list)
    ends: list[Step] = field(default_factory=list)
    """The last steps of branches that had ended, of steps that have not joined."""

    def walk(self, scope: str) -> None:
        """Sort the steps of a branch, and of the branches inside its steps."""
        steps = self.steps.get(scope, [])
        for step in steps:
            if has_result(step):
                self.done.append(step)
                self.keep_done(step)
            elif fan_out.has_branches(step):
                self.fan_outs.append(step)
                for inner in self.branches[step.position]:
                    self.walk(inner)
            else:
                self.unfinished.append(step)
        if steps and all(map(has_result, steps)):
            self.ends.append(steps[-1])

    def keep_done(self, joined: Step) -> None:
        """Keep what is done inside a step that has joined; the rest is not needed any more."""
        for inner in self.branches[joined.position]:
            for step in filter(has_result, self.steps[inner]):
                self.done.append(step)
                self.keep_done(step)


def sort_progress(steps: list[Step]) -> Progress:
    """Build the tree of branches once, and walk it from the main branch."""
    progress = Progress(defaultdict(list), defaultdict(list))
    for step in steps:
        progress.steps[step.scope].append(step)
    for scope in progress.steps:
        progress.branches[find_enclosing(scope)].append(scope)
    progress.walk("")
    return progress


def restore_progress(tx: RunTransaction, old: Run, steps: list[Step], by: str) -> None:
    """Copy what was done, and make ready what was not, in the branches that it was in."""
    progress = sort_progress(steps)
    copies = {step.id: copy_step(tx, step) for step in progress.done}
    for step in progress.fan_outs:
        copy_fan_out(tx, step)
    for step in progress.unfinished:
        repeat_step(tx, old, step, by)
    transitions.process(tx, *(StepLeft(copies[step.id]) for step in progress.ends))


def copy_step(tx: RunTransaction, old: Step) -> Step:
    """Take over a step with its result."""
    step = tx.add_step(
        old.name, old.kind, old.scope, old.item, input=old.input, output=old.output,
        attempts=old.attempts, last_error=old.last_error, finished_at=old.finished_at,
        memory=old.memory,
    )  # fmt: skip
    step.status = old.status
    step.key = old.key
    record_copy(tx, step, old)
    tx.context.add_output(step)
    return step


def copy_fan_out(tx: RunTransaction, old: Step) -> None:
    """Take over a step that waits for its branches; if it became due, it would fan out again."""
    step = tx.add_step(old.name, old.kind, old.scope, old.item, input=old.input)
    memory = FanOutMemory.load(old)
    assert memory is not None
    step.key = old.key
    step.attempts = old.attempts
    tx.suspend_step(step, memory.model_copy(update={"ended": 0}))  # none has ended in this run
    record_copy(tx, step, old)


def record_copy(tx: RunTransaction, step: Step, old: Step) -> None:
    about: Any = {"status": step.status, "input": step.input, "output": step.output}
    tx.record("step.copied", step, of=str(old.id), error=step.last_error, **about)


def repeat_step(tx: RunTransaction, old_run: Run, old: Step, by: str) -> None:
    """Make a step ready again, under its old key when the definition is the same."""
    definition = tx.definition.steps.get(old.name)
    if definition is None or definition.kind != old.kind:
        message = f"step {old.path} is not in that version: rerun from another step"
        raise Unprocessable.for_field("version", message)
    step = tx.add_step(old.name, old.kind, old.scope, old.item)
    if tx.run.version == old_run.version:
        step.key = old.key
    scheduling.prepare_step(tx, step, definition.inputs, f"steps.{step.name}.with")
    if step.input == old.input:
        retry_child(tx, step, old, by)


def retry_child(tx: RunTransaction, step: Step, old: Step, by: str) -> None:
    """Let the run that the old step had started go on for the new one."""
    child = tx.session.scalar(select(Run).where(Run.parent_id == old.id))
    if child is None or not child.finished_at:
        return
    if child.status == COMPLETED:
        step.memory = SubworkflowMemory(run_id=child.id).model_dump(mode="json")
    else:
        tx.session.flush()  # the step, to which the run refers
        run = retry_run(tx.session, child, Successor(child.published, tx.run.trace_id, by, step))
        tx.record("step.child_started", step, workflow_id=str(run.id))
