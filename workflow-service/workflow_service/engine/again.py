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
from . import flow
from .controls import NotNow
from .runs import Move, write
from .states import CANCELLED, COMPLETED, DEAD, DONE, UNDO, WAITING


class BusinessKeyTaken(Conflict):
    """There is a run of this key, and it is not the one that was meant."""


def retry(session: Session, old: Run, published: DefinitionVersion, trace_id: str, by: str) -> Run:
    """Goes on where the run failed or was cancelled.

    A step that failed is tried under its old key, since it may have had its effect. A run that was
    undone begins from the start.
    """
    if not old.finished_at or old.status == COMPLETED:
        raise NotNow(f"The run is {old.status}: only one that failed or was cancelled is retried")
    move = successor(session, old, published, trace_id, by)
    steps = own_steps(session, old)
    if any(step.name.endswith(UNDO) for step in steps):
        flow.add(move, move.definition.start)
    else:
        revive(move, steps)
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
        raise Unprocessable.field("from_step", f"the run did not come to a step {first}")
    before = {name for name in main - {first} if first in move.definition.lane(name)}
    copy(move, (s for s in steps if s.path.split("/")[0].split(".")[0] in before and is_kept(s)))
    flow.add(move, first)
    write(session, [move])
    return move.run


def successor(
    session: Session, old: Run, published: DefinitionVersion, trace_id: str, by: str
) -> Move:
    failed = old.status != COMPLETED
    run = Run(
        id=uuid7(), published=published, definition=published.name, version=published.version,
        status="running", input=old.input, trace_id=trace_id, started_by=old.started_by,
        retry_of=old.id, business_key=old.business_key if failed else None,
    )  # fmt: skip
    session.add(run)
    try:
        session.flush()
    except IntegrityError as error:
        raise BusinessKeyTaken("Another run has the business key of this one by now") from error
    move = Move(session, run)
    flow.note_start(move, by)
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
        step.finished_at, step.last_error = None, None
    about: dict[str, Any] = {"status": status, "input": old.input, "output": old.output}
    move.record("step.copied", step, of=str(old.id), error=step.last_error, **about)
    move.sight.note(step)
    return step


def revive(move: Move, steps: list[Step]) -> None:
    """What was done is copied, what was not is made ready, in the lanes it was in."""
    joined = {step.path for step in steps if is_kept(step)}
    steps = [step for step in steps if not is_inside(step, joined)]
    failed = [step for step in steps if not is_kept(step)]
    done = copy(move, (step for step in steps if is_kept(step)))
    leaves = [step for step in failed if "started" not in step.memory]
    for step in failed:
        if "started" in step.memory:
            inside = (leaf.scope for leaf in leaves)
            lanes = {lane_in(scope, step.path) for scope in inside if lane_in(scope, step.path)}
            memory = {"started": step.memory["started"]}
            memory["ended"] = memory["started"] - len(lanes)
            copied(move, step, WAITING, memory)
    for step in leaves:
        again(move, step)
    if not failed:
        last = max((s for s in done if not s.scope), key=lambda s: str(s.finished_at), default=None)
        flow.go_on(move, last) if last else flow.add(move, move.definition.start)


def again(move: Move, old: Step) -> None:
    defined = move.definition.steps.get(old.name)
    if defined is None or defined.kind != old.kind:
        message = f"step {old.path} is not in that version: rerun from another step"
        raise Unprocessable.field("version", message)
    step = move.put(old.name, old.kind, old.scope, old.item)
    if move.run.version == old_version(move, old):
        step.key = old.key
    flow.prepare(move, step, defined.inputs, f"steps.{step.name}.with")


def old_version(move: Move, old: Step) -> int:
    return move.session.get_one(Run, old.run_id).version


def is_inside(step: Step, joined: set[str]) -> bool:
    """In a lane of a step that has joined its lanes: nothing there is needed any more."""
    scope = step.scope
    while scope:
        outer, _, inner = scope.rpartition("/")
        if f"{outer}/{inner.rpartition('.')[0]}".lstrip("/") in joined:
            return step.status in (CANCELLED, DEAD)
        scope = outer
    return False


def lane_in(scope: str, container: str) -> str:
    """`each.3` for `each.3/both.left` in `each`; empty when it is not in there."""
    if not scope.startswith(f"{container}."):
        return ""
    return f"{container}.{scope.removeprefix(f'{container}.').split('/')[0]}"
