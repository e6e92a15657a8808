"""Lanes: what runs side by side inside a step, and how it is joined."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on

from ..definition.paths import find_enclosing
from ..models import WORK, Step
from ..steps.protocol import FanOut
from . import compensation, transitions
from .statuses import NEVER, OPEN, WAITING
from .transaction import RunTransaction

MAX_JOINED_CHARACTERS = 1_000_000  # characters that the lanes of a step may give together


def start_fan_out(tx: RunTransaction, step: Step, spread: FanOut) -> None:
    step.status, step.run_at, step.lease_until = WAITING, NEVER, None
    step.memory = {"started": 0, "ended": 0}
    tx.record("step.fanned_out", step, branches=len(spread.branches))
    start_branches(tx, step, spread)


def start_branches(tx: RunTransaction, step: Step, spread: FanOut) -> None:
    """As many as may run at once."""
    memory = dict(step.memory)
    first = memory["started"]
    last = min(len(spread.branches), memory["ended"] + spread.max_parallel)
    step.memory = {**memory, "started": max(first, last)}
    for name, start, item in spread.branches[first:last]:
        transitions.enter_step(tx, start, f"{step.path}.{name}", item or step.item)
    if not spread.branches:
        transitions.finish_step(tx, step, collect_outputs(tx, step, spread))


def end_branch(tx: RunTransaction, lane: str, failure: str | None = None) -> None:
    """Another lane may start, or all have joined; of a join `any`, one is enough."""
    step = get_enclosing_step(tx, lane)
    if step.status != WAITING:
        return
    step.memory = {**step.memory, "ended": step.memory["ended"] + 1}
    spread, is_any = (
        transitions.evaluate_control(tx, step),
        tx.get_step_definition(step).join == "any",
    )
    assert isinstance(spread, FanOut)
    is_last = step.memory["ended"] == len(spread.branches)
    if failure and (is_last or not is_any):
        transitions.fail_step(tx, step, failure)
    elif is_last or (is_any and not failure):
        join_branches(tx, step, spread, lane if is_any else None)
    else:
        start_branches(tx, step, spread)


def join_branches(tx: RunTransaction, step: Step, spread: FanOut, winner: str | None) -> None:
    compensation.cancel_steps(tx, *OPEN, inside=step)
    output = collect_outputs(tx, step, spread, winner)
    if len(str(output)) > MAX_JOINED_CHARACTERS:
        return transitions.fail_step(
            tx, step, f"its lanes gave more than {MAX_JOINED_CHARACTERS} characters"
        )
    return transitions.finish_step(tx, step, output)


def collect_outputs(
    tx: RunTransaction, step: Step, spread: FanOut, winner: str | None = None
) -> dict[str, Any]:
    """What the last step of each lane gave; of a foreach, as a list of items."""
    tx.session.flush()
    lanes = {f"{step.path}.{name}": name for name, *_ in spread.branches}
    lanes = {winner: lanes[winner]} if winner else lanes
    last = (
        select(Step.scope, Step.output)
        .ext(distinct_on(Step.scope))
        .where(
            Step.run_id == tx.run.id,
            Step.scope.in_([*lanes]),
            Step.role == WORK,
            Step.finished_at.is_not(None),
        )
        .order_by(Step.scope, Step.id.desc())
    )
    found = {lanes[scope]: output for scope, output in tx.session.execute(last)}
    outputs = {name: found.get(name) for name in lanes.values()}
    return {"items": [*outputs.values()]} if tx.get_step_definition(step).do else outputs


def get_enclosing_step(tx: RunTransaction, lane: str) -> Step:
    """The step that a lane runs inside of: of `each.3/both.left` it is `each.3/both`."""
    enclosing = find_enclosing(lane)
    assert enclosing
    return tx.get_step(enclosing)
