"""A run once more: another run, which does not repeat what is done, and knows where it comes from.

A run that has ended never moves again.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from chassis.errors import Conflict, Unprocessable

from ..models import DefinitionVersion, Run, Step
from . import subworkflows, transitions
from .controls import NotNow
from .statuses import CANCELLED, COMPLETED, DEAD, DONE, FOREVER, UNDO, WAITING
from .transaction import Move, write


class BusinessKeyTaken(Conflict):
    """There is a run of this key, and it is not the one that was meant."""


def retry(
    session: Session, old: Run, published: DefinitionVersion, trace_id: str, by: str,
    inside: Step | None = None,
) -> Run:  # fmt: skip
    """Goes on where the run failed or was cancelled.

    A step that failed is tried under its old key, since it may have had its effect. A run that was
    undone begins from the start. `inside`: the step of another run that waits for this one.
    """
    if not old.finished_at or old.status == COMPLETED:
        raise NotNow(f"The run is {old.status}: only one that failed or was cancelled is retried")
    move = successor(session, old, published, trace_id, by, inside)
    steps = own_steps(session, old)
    if any(step.name.endswith(UNDO) for step in steps):
        transitions.add(move, move.definition.start)
    else:
        revive(move, steps, by)
    write(session, [move])
    return move.run


def rerun(
    session: Session, old: Run, published: DefinitionVersion, trace_id: str, by: str,
    from_step: str | None,
) -> Run:  # fmt: skip
    """From a step of the main lane, with what the steps before it gave; else from the start."""
    if not old.finished_at:
        raise NotNow(f"The run is {old.status}: wait for its end, or cancel it")
    move = successor(session, old, published, trace_id, by)
    first, steps = from_step or move.definition.start, own_steps(session, old)
    main = move.definition.lane(move.definition.start)
    if first not in main or not any(step.path == first for step in steps):
        raise Unprocessable.for_field("from_step", f"the run did not come to a step {first}")
    before = {name for name in main - {first} if first in move.definition.lane(name)}
    steps = [s for s in steps if s.path.split("/")[0].split(".")[0].removesuffix(UNDO) in before]
    if undone := next((s.path.removesuffix(UNDO) for s in steps if s.name.endswith(UNDO)), None):
        raise Unprocessable.for_field("from_step", f"{undone}, which comes before it, was undone")
    copy(move, filter(is_kept, steps))
    transitions.add(move, first)
    write(session, [move])
    return move.run


def successor(
    session: Session, old: Run, published: DefinitionVersion, trace_id: str, by: str,
    inside: Step | None = None,
) -> Move:  # fmt: skip
    failed = old.status != COMPLETED
    run = Run(
        id=uuid7(), published=published, definition=published.name, version=published.version,
        status="running", input=old.input, trace_id=trace_id, started_by=old.started_by,
        retry_of=old.id, business_key=old.business_key if failed else None,
        **(subworkflows.below(session.get_one(Run, inside.run_id), inside) if inside else {}),
    )  # fmt: skip
    session.add(run)
    try:
        session.flush()
    except IntegrityError as error:
        raise BusinessKeyTaken("Another run has the business key of this one by now") from error
    move = Move(session, run)
    transitions.note_start(move, by)
    return move


def own_steps(session: Session, run: Run) -> list[Step]:
    """But for those that only told somebody something."""
    steps = session.scalars(select(Step).where(Step.run_id == run.id).order_by(Step.id))
    return [step for step in steps if "~" not in step.name or step.name.endswith(UNDO)]


def is_kept(step: Step) -> bool:
    return step.status == DONE or (step.status == DEAD and step.output is not None)


def copy(move: Move, steps: Iterable[Step]) -> list[Step]:
    return [copied(move, step, step.status, step.memory) for step in steps]


def copied(move: Move, old: Step, status: str, memory: dict[str, Any]) -> Step:
    """The step as it ended, or as it waits for its lanes."""
    step = move.put(
        old.name, old.kind, old.scope, old.item, input=old.input, output=old.output,
        attempts=old.attempts, last_error=old.last_error, finished_at=old.finished_at,
    )  # fmt: skip
    step.status, step.memory, step.key = status, memory, old.key
    if status == WAITING:
        # Its lanes move it, and nobody else: once due it would spread out a second time.
        step.run_at, step.finished_at, step.last_error = FOREVER, None, None
    about: dict[str, Any] = {"status": status, "input": old.input, "output": old.output}
    move.record("step.copied", step, of=str(old.id), error=step.last_error, **about)
    move.sight.note(step)
    return step


def revive(move: Move, steps: list[Step], by: str) -> None:
    """What was done is copied, what was not is made ready, in the lanes it was in."""
    joined = {step.path for step in steps if is_kept(step)}
    steps = [step for step in steps if not is_inside(step, joined)]
    failed = [step for step in steps if not is_kept(step)]
    done = copy(move, (step for step in steps if is_kept(step)))
    for step in failed:
        if "started" in step.memory:
            # Of these lanes none has ended: those that are at their end end once more below.
            copied(move, step, WAITING, {**step.memory, "ended": 0})
    for step in failed:
        if "started" not in step.memory:
            again(move, step, by)
    for last in left_off(done, failed):
        transitions.go_on(move, last)
    if not steps:
        transitions.add(move, move.definition.start)


def left_off(done: list[Step], failed: list[Step]) -> list[Step]:
    """The last step of each lane in which nothing failed, and which was not joined yet."""
    around = {step.path for step in failed if "started" in step.memory}
    last = {step.scope: step for step in done}
    return [
        step
        for lane, step in last.items()
        if (not lane or container_of(lane) in around)
        and not any(f"{one.scope}/".startswith(f"{lane}/" if lane else "") for one in failed)
    ]


def again(move: Move, old: Step, by: str) -> None:
    defined = move.definition.steps.get(old.name)
    if defined is None or defined.kind != old.kind:
        message = f"step {old.path} is not in that version: rerun from another step"
        raise Unprocessable.for_field("version", message)
    step = move.put(old.name, old.kind, old.scope, old.item)
    if move.run.version == old_version(move, old):
        step.key = old.key
    transitions.prepare(move, step, defined.inputs, f"steps.{step.name}.with")
    if step.input == old.input:
        child_again(move, step, old, by)


def child_again(move: Move, step: Step, old: Step, by: str) -> None:
    """The run that the step had started goes on for it, and is not repeated."""
    child = move.session.scalar(select(Run).where(Run.parent_id == old.id))
    if child is None or not child.finished_at:
        return
    if child.status == COMPLETED:
        step.memory = {"run_id": str(child.id)}
    else:
        move.session.flush()  # the step, to which the run refers
        run = retry(move.session, child, child.published, move.run.trace_id, by, inside=step)
        move.record("step.launched", step, workflow_id=str(run.id))


def old_version(move: Move, old: Step) -> int:
    return move.session.get_one(Run, old.run_id).version


def is_inside(step: Step, joined: set[str]) -> bool:
    """In a lane of a step that has joined its lanes: nothing there is needed any more."""
    scope = step.scope
    while scope:
        if container_of(scope) in joined:
            return step.status in (CANCELLED, DEAD)
        scope = scope.rpartition("/")[0]
    return False


def container_of(lane: str) -> str:
    """The path of the step that the lane runs inside of: `each.3/both` of `each.3/both.left`."""
    return lane.rpartition(".")[0]
