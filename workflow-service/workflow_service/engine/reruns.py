"""A run once more: another run, which does not repeat what is done, and knows where it comes from.

A run that has ended never transactions again.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from chassis.errors import Conflict, Unprocessable

from ..models import COMPENSATION, NOTICE, DefinitionVersion, Run, Step
from . import subworkflows, transitions
from .controls import InvalidRunStatus
from .statuses import CANCELLED, COMPLETED, DONE, FAILED, NEVER, WAITING
from .transaction import RunTransaction, save_transactions


class BusinessKeyTaken(Conflict):
    """There is a run of this key, and it is not the one that was meant."""


def retry_run(
    session: Session, old: Run, published: DefinitionVersion, trace_id: str, by: str,
    inside: Step | None = None,
) -> Run:  # fmt: skip
    """Goes on where the run failed or was cancelled.

    A step that failed is tried under its old key, since it may have had its effect. A run that was
    undone begins from the start. `inside`: the step of another run that waits for this one.
    """
    if not old.finished_at or old.status == COMPLETED:
        raise InvalidRunStatus(
            f"The run is {old.status}: only one that failed or was cancelled is retried"
        )
    tx = create_successor(session, old, published, trace_id, by, inside)
    steps = load_steps(session, old)
    if any(step.role == COMPENSATION for step in steps):
        transitions.enter_step(tx, tx.definition.start)
    else:
        restore_progress(tx, steps, by)
    save_transactions(session, [tx])
    return tx.run


def rerun_from_step(
    session: Session, old: Run, published: DefinitionVersion, trace_id: str, by: str,
    from_step: str | None,
) -> Run:  # fmt: skip
    """From a step of the main lane, with what the steps before it gave; else from the start."""
    if not old.finished_at:
        raise InvalidRunStatus(f"The run is {old.status}: wait for its end, or cancel it")
    tx = create_successor(session, old, published, trace_id, by)
    first, steps = from_step or tx.definition.start, load_steps(session, old)
    main = tx.definition.get_branch(tx.definition.start)
    if first not in main or not any(step.path == first for step in steps):
        raise Unprocessable.for_field("from_step", f"the run did not come to a step {first}")
    before = {name for name in main - {first} if first in tx.definition.get_branch(name)}
    steps = [step for step in steps if step.position.root in before]
    if undone := next((step.path for step in steps if step.role == COMPENSATION), None):
        raise Unprocessable.for_field("from_step", f"{undone}, which comes before it, was undone")
    copy_steps(tx, filter(has_result, steps))
    transitions.enter_step(tx, first)
    save_transactions(session, [tx])
    return tx.run


def create_successor(
    session: Session, old: Run, published: DefinitionVersion, trace_id: str, by: str,
    inside: Step | None = None,
) -> RunTransaction:  # fmt: skip
    failed = old.status != COMPLETED
    lineage: dict[str, Any] = {}
    if inside:
        lineage = subworkflows.build_lineage(session.get_one(Run, inside.run_id), inside)
    run = Run(
        id=uuid7(), published=published, definition=published.name, version=published.version,
        status="running", input=old.input, trace_id=trace_id, started_by=old.started_by,
        retry_of=old.id, business_key=old.business_key if failed else None,
        **lineage,
    )  # fmt: skip
    session.add(run)
    try:
        session.flush()
    except IntegrityError as error:
        raise BusinessKeyTaken("Another run has the business key of this one by now") from error
    tx = RunTransaction(session, run)
    transitions.record_start(tx, by)
    return tx


def load_steps(session: Session, run: Run) -> list[Step]:
    """But for those that only told somebody something."""
    steps = select(Step).where(Step.run_id == run.id, Step.role != NOTICE)
    return [*session.scalars(steps.order_by(Step.id))]


def has_result(step: Step) -> bool:
    return step.status == DONE or (step.status == FAILED and step.output is not None)


def copy_steps(tx: RunTransaction, steps: Iterable[Step]) -> list[Step]:
    return [copy_step(tx, step, step.status, step.memory) for step in steps]


def copy_step(tx: RunTransaction, old: Step, status: str, memory: dict[str, Any]) -> Step:
    """The step as it ended, or as it waits for its lanes."""
    step = tx.add_step(
        old.name, old.kind, old.scope, old.item, input=old.input, output=old.output,
        attempts=old.attempts, last_error=old.last_error, finished_at=old.finished_at,
    )  # fmt: skip
    step.status, step.memory, step.key = status, memory, old.key
    if status == WAITING:
        # Its lanes move it, and nobody else: once due it would spread out a second time.
        step.run_at, step.finished_at, step.last_error = NEVER, None, None
    about: dict[str, Any] = {"status": status, "input": old.input, "output": old.output}
    tx.record("step.copied", step, of=str(old.id), error=step.last_error, **about)
    tx.context.add_output(step)
    return step


def restore_progress(tx: RunTransaction, steps: list[Step], by: str) -> None:
    """What was done is copied, what was not is made ready, in the lanes it was in."""
    joined = {step.path for step in steps if has_result(step)}
    steps = [step for step in steps if not is_inside(step, joined)]
    failed = [step for step in steps if not has_result(step)]
    done = copy_steps(tx, (step for step in steps if has_result(step)))
    for step in failed:
        if "started" in step.memory:
            # Of these lanes none has ended: those that are at their end end once more below.
            copy_step(tx, step, WAITING, {**step.memory, "ended": 0})
    for step in failed:
        if "started" not in step.memory:
            repeat_step(tx, step, by)
    for last in find_branch_ends(done, failed):
        transitions.continue_after(tx, last)
    if not steps:
        transitions.enter_step(tx, tx.definition.start)


def find_branch_ends(done: list[Step], failed: list[Step]) -> list[Step]:
    """The last step of each lane in which nothing failed, and which was not joined yet."""
    around = {step.path for step in failed if "started" in step.memory}
    last = {step.scope: step for step in done}
    return [
        step
        for lane, step in last.items()
        if (not lane or get_container(lane) in around)
        and not any(f"{one.scope}/".startswith(f"{lane}/" if lane else "") for one in failed)
    ]


def repeat_step(tx: RunTransaction, old: Step, by: str) -> None:
    defined = tx.definition.steps.get(old.name)
    if defined is None or defined.kind != old.kind:
        message = f"step {old.path} is not in that version: rerun from another step"
        raise Unprocessable.for_field("version", message)
    step = tx.add_step(old.name, old.kind, old.scope, old.item)
    if tx.run.version == get_version(tx, old):
        step.key = old.key
    transitions.prepare_step(tx, step, defined.inputs, f"steps.{step.name}.with")
    if step.input == old.input:
        retry_child(tx, step, old, by)


def retry_child(tx: RunTransaction, step: Step, old: Step, by: str) -> None:
    """The run that the step had started goes on for it, and is not repeated."""
    child = tx.session.scalar(select(Run).where(Run.parent_id == old.id))
    if child is None or not child.finished_at:
        return
    if child.status == COMPLETED:
        step.memory = {"run_id": str(child.id)}
    else:
        tx.session.flush()  # the step, to which the run refers
        run = retry_run(tx.session, child, child.published, tx.run.trace_id, by, inside=step)
        tx.record("step.child_started", step, workflow_id=str(run.id))


def get_version(tx: RunTransaction, old: Step) -> int:
    return tx.session.get_one(Run, old.run_id).version


def is_inside(step: Step, joined: set[str]) -> bool:
    """In a lane of a step that has joined its lanes: nothing there is needed any more."""
    scope = step.scope
    while scope:
        if get_container(scope) in joined:
            return step.status in (CANCELLED, FAILED)
        scope = scope.rpartition("/")[0]
    return False


def get_container(lane: str) -> str:
    """The path of the step that the lane runs inside of: `each.3/both` of `each.3/both.left`."""
    return lane.rpartition(".")[0]
