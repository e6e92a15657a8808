"""The branches of a parallel step and the iterations of a foreach: their start and their join."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on

from ..definition.paths import find_enclosing
from ..models import WORK, Step
from ..steps.protocol import FanOut, StepMemory
from .events import EnterStep, StepFailed, StepFinished
from .statuses import WAITING
from .transaction import RunTransaction

MAX_JOINED_CHARACTERS = 1_000_000  # of the outputs of all branches of a step together


class FanOutMemory(StepMemory):
    """Counts the branches of a step that have started and ended."""

    started: int = 0
    ended: int = 0


def has_branches(step: Step) -> bool:
    return "started" in step.memory


def start_fan_out(tx: RunTransaction, step: Step, fan_out: FanOut) -> None:
    tx.suspend_step(step, FanOutMemory())
    tx.record("step.fanned_out", step, branches=len(fan_out.branches))
    start_branches(tx, step, fan_out, FanOutMemory())


def start_branches(tx: RunTransaction, step: Step, fan_out: FanOut, memory: FanOutMemory) -> None:
    """Start as many branches as may run at the same time."""
    first = memory.started
    last = min(len(fan_out.branches), memory.ended + fan_out.max_parallel)
    tx.suspend_step(step, FanOutMemory(started=max(first, last), ended=memory.ended))
    for branch in fan_out.branches[first:last]:
        scope = step.position.get_branch_scope(branch.name)
        tx.put(EnterStep(branch.first_step, scope, branch.item or step.item))
    if not fan_out.branches:
        tx.put(StepFinished(step, collect_outputs(tx, step, fan_out)))


def end_branch(tx: RunTransaction, scope: str, failure: str | None) -> None:
    """Start the next branch, or join: a join `any` needs one branch that has not failed."""
    step = get_enclosing_step(tx, scope)
    if step.status != WAITING:
        return  # the join is already decided
    fan_out = tx.evaluate_control(step)
    memory = FanOutMemory.load(step)
    assert isinstance(fan_out, FanOut) and memory
    memory = FanOutMemory(started=memory.started, ended=memory.ended + 1)
    tx.suspend_step(step, memory)
    is_any = tx.get_step_definition(step).join == "any"
    is_last = memory.ended == len(fan_out.branches)
    if failure and (is_last or not is_any):
        tx.put(StepFailed(step, failure))
    elif is_last or (is_any and not failure):
        join_branches(tx, step, fan_out, scope if is_any else None)
    else:
        start_branches(tx, step, fan_out, memory)


def join_branches(tx: RunTransaction, step: Step, fan_out: FanOut, winner: str | None) -> None:
    output = collect_outputs(tx, step, fan_out, winner)
    if len(str(output)) > MAX_JOINED_CHARACTERS:
        tx.put(StepFailed(step, f"its branches gave more than {MAX_JOINED_CHARACTERS} characters"))
    else:
        tx.put(StepFinished(step, output))


def collect_outputs(
    tx: RunTransaction, step: Step, fan_out: FanOut, winner: str | None = None
) -> dict[str, Any]:
    """Return the output of each branch's last step by its name; of a foreach, as a list."""
    tx.session.flush()
    names = {step.position.get_branch_scope(each.name): each.name for each in fan_out.branches}
    if winner:
        names = {winner: names[winner]}
    steps = select(Step.scope, Step.output).filter_by(run_id=tx.run.id, role=WORK)
    ended = steps.where(Step.scope.in_([*names]), Step.finished_at.is_not(None))
    last = ended.ext(distinct_on(Step.scope)).order_by(Step.scope, Step.id.desc())
    found = {names[scope]: output for scope, output in tx.session.execute(last)}
    outputs = {name: found.get(name) for name in names.values()}
    return {"items": [*outputs.values()]} if tx.get_step_definition(step).do else outputs


def get_enclosing_step(tx: RunTransaction, scope: str) -> Step:
    enclosing = find_enclosing(scope)
    assert enclosing is not None
    return tx.get_step(enclosing)
