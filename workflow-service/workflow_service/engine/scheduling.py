"""What puts a step into the queue: the next one of a branch, or the compensation of another."""

from datetime import timedelta
from typing import Any

from chassis.clock import now

from ..definition.expressions import ExpressionError
from ..models import COMPENSATION, Step
from ..steps.protocol import STEP_TYPES, ControlStep
from .events import ControlReady, StepFailed, StopRun
from .statuses import FAILED, PENDING
from .transaction import RunTransaction

MAX_STEPS_PER_RUN = 10_000


def enter_step(tx: RunTransaction, name: str, scope: str, item: dict[str, Any] | None) -> None:
    """Add a step of the definition to the run, unless the run is ending."""
    if tx.run.ends_as:
        return
    if tx.run.size >= MAX_STEPS_PER_RUN:
        tx.put(StopRun(FAILED, f"has more than {MAX_STEPS_PER_RUN} steps"))
        return
    definition = tx.definition.steps[name]
    step = tx.add_step(name, definition.kind, scope, item)
    if definition.sla:
        step.due_at = now() + timedelta(seconds=definition.sla.seconds)
    prepare_step(tx, step, definition.inputs, f"steps.{name}.with")


def enter_compensation(tx: RunTransaction, done: Step) -> None:
    """Add the step that undoes this one."""
    undo = tx.definition.steps[done.name].undo
    assert undo is not None
    step = tx.add_step(done.name, undo.kind, done.scope, done.item, role=COMPENSATION)
    prepare_step(tx, step, undo.inputs, f"steps.{done.name}.undo.with")


def prepare_step(tx: RunTransaction, step: Step, inputs: dict[str, Any], place: str) -> None:
    """Evaluate the input of a step, which stays the same for all its attempts."""
    try:
        step.input = tx.context.evaluate(inputs, step.scope, step.item, place)
    except ExpressionError as error:
        tx.put(StepFailed(step, str(error)))
        return
    tx.record("step.ready", step, status=step.status, input=step.input)
    if step.status == PENDING and issubclass(STEP_TYPES[step.kind], ControlStep):
        tx.put(ControlReady(step))
