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
from ..models import NOTICE, WORK, Step
from ..steps import STEP_TYPES
from ..steps.protocol import (
    ControlStep,
    Done,
    FanOut,
    NonRetryableError,
    Pending,
    RequestApproval,
    StartSubworkflow,
    StepContext,
    StepResult,
    StepType,
)
from . import compensation, fan_out, human_tasks, subworkflows
from .statuses import (  # fmt: skip
    COMPLETED,
    DONE,
    FAILED,
    NEVER,
    OPEN,
    PENDING,
    RUNNING,
    WAITING,
    now,
)
from .transaction import RunTransaction

SHORT_PAUSE = timedelta(seconds=10)  # a shorter pause is not shown as waiting
MAX_STEPS_PER_RUN = 10_000  # of a run
MAX_CONTROLS_PER_TRANSACTION = (
    500  # of controls in one transaction; further ones go through the queue
)


def start_run(tx: RunTransaction) -> None:
    record_start(tx, tx.run.started_by)
    enter_step(tx, tx.definition.start)


def record_start(tx: RunTransaction, by: str) -> None:
    run, sla = tx.run, tx.definition.sla
    if sla:
        run.due_at = now() + timedelta(seconds=sla.seconds)
    about = {"definition": run.definition, "version": run.version, "input": run.input}
    about |= {"retry_of": str(run.retry_of)} if run.retry_of else {}
    tx.record("run.started", None, by, **about)


def enter_step(
    tx: RunTransaction, name: str, scope: str = "", item: dict[str, Any] | None = None
) -> None:
    """Puts a step into the queue."""
    if tx.run.ends_as:
        return
    if tx.run.size >= MAX_STEPS_PER_RUN:
        return compensation.stop_run(tx, FAILED, f"has more than {MAX_STEPS_PER_RUN} steps")
    defined = tx.definition.steps[name]
    step = tx.add_step(name, defined.kind, scope, item)
    if defined.sla:
        step.due_at = now() + timedelta(seconds=defined.sla.seconds)
    prepare_step(tx, step, defined.inputs, f"steps.{name}.with")


def prepare_step(tx: RunTransaction, step: Step, inputs: dict[str, Any], place: str) -> None:
    """Works out the step's input, the same for every attempt. A control is decided at once."""
    try:
        step.input = tx.context.evaluate(inputs, step.scope, step.item, place)
    except ExpressionError as error:
        return tx.events.append(partial(fail_step, tx, step, str(error)))
    tx.record("step.ready", step, status=step.status, input=step.input)
    if step.status == PENDING and issubclass(STEP_TYPES[step.kind], ControlStep):
        tx.events.append(partial(run_control, tx, step))


def run_control(tx: RunTransaction, step: Step) -> None:
    """Has a control say what is to happen; when it was much already, in another transaction."""
    tx.controls_evaluated += 1
    if (
        step.status not in (PENDING, RUNNING)
        or tx.controls_evaluated > MAX_CONTROLS_PER_TRANSACTION
    ):
        return
    try:
        apply_result(tx, step, evaluate_control(tx, step))
    except ServiceError as error:
        fail_step(tx, step, error.message)


def evaluate_control(tx: RunTransaction, step: Step) -> StepResult:
    control = parse_input(step)
    assert isinstance(control, ControlStep)
    sees = partial(tx.context.build_scope, step.scope, step.item)
    return control.decide(StepContext(tx.run, step, tx.get_step_definition(step)), sees)


def parse_input(step: Step) -> StepType | ControlStep:
    """Validates the step's input; raises NonRetryableError when it does not fit."""
    try:
        return STEP_TYPES[step.kind].model_validate(step.input)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["with", *map(str, first["loc"])])
        raise NonRetryableError(f"{place}: {first['msg']}") from error


def apply_result(tx: RunTransaction, step: Step, answer: StepResult) -> None:
    if tx.run.ends_as and step.role == WORK and not isinstance(answer, Done):
        compensation.cancel_step(tx, step)  # nobody waits for anything in a run that winds down
        return continue_after(tx, step)
    match answer:
        case Done(output):
            if step.memory:
                human_tasks.close_tasks(tx, [step], "The time to decide is over")
            finish_step(tx, step, output)
        case Pending():
            step.memory, step.attempts = answer.memory, 0  # it has not failed
            at = answer.at or NEVER
            is_long = answer.is_long_wait or at - now() > SHORT_PAUSE
            tx.reschedule_step(step, "step.rescheduled", at, WAITING if is_long else PENDING)
        case RequestApproval():
            human_tasks.open_tasks(tx, step, answer)
        case FanOut():
            fan_out.start_fan_out(tx, step, answer)
        case StartSubworkflow():
            subworkflows.follow_subworkflow(tx, step, answer)


def finish_step(
    tx: RunTransaction, step: Step, output: dict[str, Any], by: str | None = None
) -> None:
    """The step is done; what follows it is made ready, or its lane is at its end."""
    end_step(tx, step, DONE, output)
    tx.record("step.done", step, by, output=output)
    continue_after(tx, step)


def fail_step(tx: RunTransaction, step: Step, reason: str) -> None:
    """The step has failed for good: so does its lane, unless its definition says go on."""
    if step.status not in OPEN:
        return
    is_own = step.role != WORK
    goes_on = not is_own and tx.get_step_definition(step).on_failure == "continue"
    output = {"error": reason} if goes_on else None
    end_step(tx, step, FAILED, output, reason)
    tx.record("step.failed", step, error=reason, output=output)
    if "started" in step.memory:
        compensation.cancel_steps(tx, *compensation.get_interruptible_statuses(tx), inside=step)
    human_tasks.close_tasks(tx, [step], reason)
    if goes_on or is_own or tx.run.ends_as:
        continue_after(tx, step)
    elif step.scope:
        fan_out.end_branch(tx, step.scope, f"{step.path}: {reason}")
    else:
        compensation.stop_run(tx, FAILED, f"{step.path}: {reason}")


def end_step(
    tx: RunTransaction,
    step: Step,
    status: str,
    output: dict[str, Any] | None,
    error: str | None = None,
) -> None:
    step.status, step.output, step.last_error = status, output, error
    step.finished_at, step.lease_until = now(), None
    tx.context.add_output(step)


def continue_after(tx: RunTransaction, step: Step) -> None:
    if step.role == NOTICE:
        return None
    if tx.run.ends_as:
        return compensation.compensate_next(tx)
    if step.scope and fan_out.get_enclosing_step(tx, step.scope).status != WAITING:
        return None  # the others of its lanes have decided without it
    following = (step.output or {}).get("next") if step.kind == "branch" else None
    if following := following or tx.get_step_definition(step).next:
        return enter_step(tx, following, step.scope, step.item)
    if step.scope:
        return fan_out.end_branch(tx, step.scope)
    return complete_run(tx)


def complete_run(tx: RunTransaction) -> None:
    try:
        output = tx.context.evaluate(tx.definition.output, "", None, "output")
    except ExpressionError as error:
        return compensation.stop_run(tx, FAILED, str(error))
    tx.run.output = output
    compensation.end_run(tx, COMPLETED, output=output)


def add_notice(tx: RunTransaction, about: Step | None, message: dict[str, Any]) -> None:
    """Has somebody told something, by a step of its own that is tried until it is done."""
    name = f"{about.name if about else 'run'}_notice_{tx.run.size + 1}"
    step = tx.add_step(name, "communication.notify", about.scope if about else "", role=NOTICE)
    step.input, step.status = message, PENDING  # also in a run that is paused
    tx.record("step.ready", step, status=PENDING, input=message)
