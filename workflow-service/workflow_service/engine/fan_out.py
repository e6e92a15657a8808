"""Lanes: what runs side by side inside a step, and how it is joined."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on

from ..models import Step
from ..steps.protocol import Spread
from . import compensation, transitions
from .statuses import FOREVER, OPEN, WAITING
from .transaction import Move

MOST_JOINED = 1_000_000  # characters that the lanes of a step may give together


def spread_out(move: Move, step: Step, spread: Spread) -> None:
    step.status, step.run_at, step.lease_until = WAITING, FOREVER, None
    step.memory = {"started": 0, "ended": 0}
    move.record("step.spread", step, lanes=len(spread.lanes))
    start_lanes(move, step, spread)


def start_lanes(move: Move, step: Step, spread: Spread) -> None:
    """As many as may run at once."""
    memory = dict(step.memory)
    first = memory["started"]
    last = min(len(spread.lanes), memory["ended"] + spread.at_once)
    step.memory = {**memory, "started": max(first, last)}
    for name, start, item in spread.lanes[first:last]:
        transitions.add(move, start, f"{step.path}.{name}", item or step.item)
    if not spread.lanes:
        transitions.finish(move, step, joined(move, step, spread))


def end_lane(move: Move, lane: str, failure: str | None = None) -> None:
    """Another lane may start, or all have joined; of a join `any`, one is enough."""
    step = around(move, lane)
    if step.status != WAITING:
        return
    step.memory = {**step.memory, "ended": step.memory["ended"] + 1}
    spread, is_any = transitions.decision(move, step), move.defined(step).join == "any"
    assert isinstance(spread, Spread)
    is_last = step.memory["ended"] == len(spread.lanes)
    if failure and (is_last or not is_any):
        transitions.fail(move, step, failure)
    elif is_last or (is_any and not failure):
        join(move, step, spread, lane if is_any else None)
    else:
        start_lanes(move, step, spread)


def join(move: Move, step: Step, spread: Spread, winner: str | None) -> None:
    compensation.cancel_steps(move, *OPEN, inside=step)
    output = joined(move, step, spread, winner)
    if len(str(output)) > MOST_JOINED:
        return transitions.fail(move, step, f"its lanes gave more than {MOST_JOINED} characters")
    return transitions.finish(move, step, output)


def joined(move: Move, step: Step, spread: Spread, winner: str | None = None) -> dict[str, Any]:
    """What the last step of each lane gave; of a foreach, as a list of items."""
    move.session.flush()
    lanes = {f"{step.path}.{name}": name for name, *_ in spread.lanes}
    lanes = {winner: lanes[winner]} if winner else lanes
    last = (
        select(Step.scope, Step.output)
        .ext(distinct_on(Step.scope))
        .where(Step.run_id == move.run.id, Step.scope.in_([*lanes]), Step.finished_at.is_not(None))
        .order_by(Step.scope, Step.id.desc())
    )
    found = {lanes[scope]: output for scope, output in move.session.execute(last)}
    outputs = {name: found.get(name) for name in lanes.values()}
    return {"items": [*outputs.values()]} if move.defined(step).do else outputs


def around(move: Move, lane: str) -> Step:
    """The step that a lane runs inside of: of `each.3/both.left` it is `each.3/both`."""
    outer, _, inner = lane.rpartition("/")
    return move.step_at(outer, inner.rpartition(".")[0])
