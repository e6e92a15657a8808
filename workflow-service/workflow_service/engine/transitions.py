"""How a run moves, from step to step.

A step that has ended makes the next one of its lane ready; the main lane has the scope "", each
branch of a parallel step and each item of a foreach is a lane of its own. Steps whose names hold a
~ are the engine's: they undo another step, or tell somebody something.
"""

from datetime import timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError

from chassis.errors import ServiceError

from ..definition.expressions import ExpressionError
from ..models import Step
from ..steps import KINDS
from ..steps.protocol import Again, Answer, Ask, Control, Done, Here, Kind, Launch, Spread, Terminal
from . import compensation, fan_out, human_tasks, subworkflows
from .statuses import (  # fmt: skip
    COMPLETED,
    DEAD,
    DONE,
    FAILED,
    FOREVER,
    OPEN,
    PENDING,
    RUNNING,
    UNDO,
    WAITING,
    now,
)
from .transaction import Move

SOON = timedelta(seconds=10)  # a shorter pause is not shown as waiting
MOST_STEPS = 10_000  # of a run
MOST_DECISIONS = 500  # of controls in one transaction; further ones go through the queue


def begin(move: Move) -> None:
    note_start(move, move.run.started_by)
    add(move, move.definition.start)


def note_start(move: Move, by: str) -> None:
    run, sla = move.run, move.definition.sla
    if sla:
        run.due_at = now() + timedelta(seconds=sla.seconds)
    about = {"definition": run.definition, "version": run.version, "input": run.input}
    about |= {"retry_of": str(run.retry_of)} if run.retry_of else {}
    move.record("run.started", None, by, **about)


def add(move: Move, name: str, scope: str = "", item: dict[str, Any] | None = None) -> None:
    """Puts a step into the queue."""
    if move.run.ends_as:
        return
    if move.run.size >= MOST_STEPS:
        return compensation.stop(move, FAILED, f"has more than {MOST_STEPS} steps")
    defined = move.definition.steps[name]
    step = move.put(name, defined.kind, scope, item)
    if defined.sla:
        step.due_at = now() + timedelta(seconds=defined.sla.seconds)
    prepare(move, step, defined.inputs, f"steps.{name}.with")


def prepare(move: Move, step: Step, inputs: dict[str, Any], place: str) -> None:
    """Works out the step's input, the same for every attempt. A control is decided at once."""
    try:
        step.input = move.sight.evaluate(inputs, step.scope, step.item, place)
    except ExpressionError as error:
        return move.todo.append(partial(fail, move, step, str(error)))
    move.record("step.ready", step, status=step.status, input=step.input)
    if step.status == PENDING and issubclass(KINDS[step.kind], Control):
        move.todo.append(partial(decide, move, step))


def decide(move: Move, step: Step) -> None:
    """Has a control say what is to happen; when it was much already, in another transaction."""
    move.decisions += 1
    if step.status not in (PENDING, RUNNING) or move.decisions > MOST_DECISIONS:
        return
    try:
        apply(move, step, decision(move, step))
    except ServiceError as error:
        fail(move, step, error.message)


def decision(move: Move, step: Step) -> Answer:
    control = given(step)
    assert isinstance(control, Control)
    sees = partial(move.sight.scope, step.scope, step.item)
    return control.decide(Here(move.run, step, move.defined(step)), sees)


def given(step: Step) -> Kind | Control:
    """The step's kind with what it takes; raises Terminal when that is not what it takes."""
    try:
        return KINDS[step.kind].model_validate(step.input)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["with", *map(str, first["loc"])])
        raise Terminal(f"{place}: {first['msg']}") from error


def apply(move: Move, step: Step, answer: Answer) -> None:
    if move.run.ends_as and "~" not in step.name and not isinstance(answer, Done):
        compensation.cancel_step(move, step)  # nobody waits for anything in a run that winds down
        return go_on(move, step)
    match answer:
        case Done(output):
            if step.memory:
                human_tasks.close_tasks(move, [step], "The time to decide is over")
            finish(move, step, output)
        case Again():
            step.memory, step.attempts = answer.memory, 0  # it has not failed
            at = answer.at or FOREVER
            is_long = answer.waits or at - now() > SOON
            move.put_back(step, "step.again", at, WAITING if is_long else PENDING)
        case Ask():
            human_tasks.open_tasks(move, step, answer)
        case Spread():
            fan_out.spread_out(move, step, answer)
        case Launch():
            subworkflows.launch(move, step, answer)


def finish(move: Move, step: Step, output: dict[str, Any], by: str | None = None) -> None:
    """The step is done; what follows it is made ready, or its lane is at its end."""
    end(move, step, DONE, output)
    move.record("step.done", step, by, output=output)
    go_on(move, step)


def fail(move: Move, step: Step, reason: str) -> None:
    """The step has failed for good: so does its lane, unless its definition says go on."""
    if step.status not in OPEN:
        return
    is_own = "~" in step.name
    goes_on = not is_own and move.defined(step).on_failure == "continue"
    output = {"error": reason} if goes_on else None
    end(move, step, DEAD, output, reason)
    move.record("step.dead", step, error=reason, output=output)
    if "started" in step.memory:
        compensation.cancel_steps(move, *compensation.interrupted(move), inside=step)
    human_tasks.close_tasks(move, [step], reason)
    if goes_on or is_own or move.run.ends_as:
        go_on(move, step)
    elif step.scope:
        fan_out.end_lane(move, step.scope, f"{step.path}: {reason}")
    else:
        compensation.stop(move, FAILED, f"{step.path}: {reason}")


def end(
    move: Move, step: Step, status: str, output: dict[str, Any] | None, error: str | None = None
) -> None:
    step.status, step.output, step.last_error = status, output, error
    step.finished_at, step.lease_until = now(), None
    move.sight.note(step)


def go_on(move: Move, step: Step) -> None:
    if "~" in step.name and not step.name.endswith(UNDO):
        return None
    if move.run.ends_as:
        return compensation.wind_down(move)
    if step.scope and fan_out.around(move, step.scope).status != WAITING:
        return None  # the others of its lanes have decided without it
    following = (step.output or {}).get("next") if step.kind == "branch" else None
    if following := following or move.defined(step).next:
        return add(move, following, step.scope, step.item)
    if step.scope:
        return fan_out.end_lane(move, step.scope)
    return complete(move)


def complete(move: Move) -> None:
    try:
        output = move.sight.evaluate(move.definition.output, "", None, "output")
    except ExpressionError as error:
        return compensation.stop(move, FAILED, str(error))
    move.run.output = output
    compensation.end_run(move, COMPLETED, output=output)


def tell(move: Move, about: Step | None, message: dict[str, Any]) -> None:
    """Has somebody told something, by a step of its own that is tried until it is done."""
    name = f"{about.name if about else 'run'}~{move.run.size + 1}"
    step = move.put(name, "communication.notify", about.scope if about else "")
    step.input, step.status = message, PENDING  # also in a run that is paused
    move.record("step.ready", step, status=PENDING, input=message)
