"""Decides how a run goes on. The only file that handles events.

process() takes what happened and handles it and everything that follows, until nothing is left to
decide in this transaction. Each handler changes rows, and reports what follows with new events.
"""

from datetime import timedelta
from typing import Any

from chassis.clock import now
from chassis.errors import ServiceError

from ..definition.expressions import ExpressionError
from ..models import NOTICE, WORK, Step
from ..steps.protocol import Done, FanOut, Pending, RequestApproval, StartSubworkflow, StepResult
from . import compensation, events, fan_out, human_tasks, scheduling, statuses, subworkflows
from .transaction import MAX_CONTROLS_PER_TRANSACTION, RunTransaction

SHORT_PAUSE = timedelta(seconds=10)  # a step that pauses for less is not shown as waiting
NOT_NEEDED = "It is not needed any more"


def process(tx: RunTransaction, *reported: events.Event) -> None:
    """Handle the events and all that follow from them, also in runs that join the transaction."""
    for event in reported:
        tx.put(event)
    while following := tx.take():
        handle(tx, following)
    for joined in tx.joined:
        process(joined)


def handle(tx: RunTransaction, event: events.Event) -> None:
    match event:
        case events.StartRun():
            note_start(tx, tx.run.started_by)
            tx.put(events.EnterStep(tx.definition.start))
        case events.EnterStep(name, scope, item):
            scheduling.enter_step(tx, name, scope, item)
        case events.ControlReady(step):
            run_control(tx, step)
        case events.ResultReceived(step, result):
            apply_result(tx, step, result)
        case events.StepFinished(step, output, by):
            finish_step(tx, step, output, by)
        case events.StepFailed(step, reason):
            fail_step(tx, step, reason)
        case events.StepLeft(step):
            continue_after(tx, step)
        case events.BranchEnded(scope, failure):
            fan_out.end_branch(tx, scope, failure)
        case events.StopRun(status, reason, by):
            stop_run(tx, status, reason, by)


def note_start(tx: RunTransaction, by: str) -> None:
    """Record the start of the run, and when it would be late."""
    run = tx.run
    if tx.definition.sla:
        run.due_at = now() + timedelta(seconds=tx.definition.sla.seconds)
    about: Any = {"definition": run.definition, "version": run.version, "input": run.input}
    about |= {"retry_of": str(run.retry_of)} if run.retry_of else {}
    tx.record("run.started", None, by, **about)


def run_control(tx: RunTransaction, step: Step) -> None:
    """Evaluate a control step; beyond the limit of this transaction, leave it to the queue."""
    tx.controls_evaluated += 1
    is_over_limit = tx.controls_evaluated > MAX_CONTROLS_PER_TRANSACTION
    if is_over_limit or step.status not in (statuses.PENDING, statuses.RUNNING):
        return
    try:
        apply_result(tx, step, tx.evaluate_control(step))
    except ServiceError as error:
        tx.put(events.StepFailed(step, error.message))


def apply_result(tx: RunTransaction, step: Step, result: StepResult) -> None:
    """Do what a step type asks for. In a run that is ending, only what is done counts."""
    if tx.run.ends_as and step.role == WORK and not isinstance(result, Done):
        mark_cancelled(tx, step)
        end_everything_started_by(tx, step, NOT_NEEDED)
        tx.put(events.StepLeft(step))
        return
    match result:
        case Done(output):
            tx.put(events.StepFinished(step, output))
        case Pending(at, memory, is_long_wait):
            step.memory = memory.model_dump(mode="json") if memory else {}
            step.attempts = 0  # it has not failed
            is_shown = is_long_wait or at is None or at - now() > SHORT_PAUSE
            status = statuses.WAITING if is_shown else statuses.PENDING
            tx.reschedule_step(step, "step.rescheduled", at or statuses.NEVER, status)
        case RequestApproval():
            human_tasks.open_tasks(tx, step, result)
        case FanOut():
            fan_out.start_fan_out(tx, step, result)
        case StartSubworkflow():
            subworkflows.follow_subworkflow(tx, step, result)


def finish_step(tx: RunTransaction, step: Step, output: dict[str, Any], by: str | None) -> None:
    """Mark the step as done; what follows it is next."""
    if step.memory:  # without any, it has started nothing
        end_everything_started_by(tx, step, "The time to decide is over")
    end_step(tx, step, statuses.DONE, output, None)
    tx.record("step.done", step, by, output=output)
    tx.put(events.StepLeft(step))


def fail_step(tx: RunTransaction, step: Step, reason: str) -> None:
    """Mark the step as failed, and its branch with it, unless its definition says `continue`."""
    if step.status not in statuses.OPEN:
        return
    is_work = step.role == WORK
    continues = is_work and tx.get_step_definition(step).on_failure == "continue"
    output = {"error": reason} if continues else None
    end_step(tx, step, statuses.FAILED, output, reason)
    tx.record("step.failed", step, error=reason, output=output)
    interruptible = compensation.get_interruptible_statuses(tx, statuses.FAILED)
    end_everything_started_by(tx, step, reason, interruptible)
    if continues or not is_work or tx.run.ends_as:
        tx.put(events.StepLeft(step))
    elif step.scope:
        tx.put(events.BranchEnded(step.scope, f"{step.path}: {reason}"))
    else:
        tx.put(events.StopRun(statuses.FAILED, f"{step.path}: {reason}"))


def end_step(
    tx: RunTransaction, step: Step, status: str, output: dict[str, Any] | None, error: str | None
) -> None:
    step.status = status
    step.output = output
    step.last_error = error
    step.finished_at = now()
    step.lease_until = None
    tx.context.add_output(step)


def mark_cancelled(tx: RunTransaction, step: Step) -> None:
    """End a step without a result; a worker that performs it can no longer write one."""
    step.fence += 1
    end_step(tx, step, statuses.CANCELLED, None, step.last_error)
    tx.record("step.cancelled", step)


def continue_after(tx: RunTransaction, step: Step) -> None:
    """Enter the next step of the branch; the last one ends its branch, or the run."""
    if step.role == NOTICE:
        return
    if tx.run.ends_as:
        compensate_next(tx)
        return
    if step.scope and fan_out.get_enclosing_step(tx, step.scope).status != statuses.WAITING:
        return  # the join is already decided
    following = (step.output or {}).get("next") if step.kind == "branch" else None
    following = following or tx.get_step_definition(step).next
    if following:
        tx.put(events.EnterStep(following, step.scope, step.item))
    elif step.scope:
        tx.put(events.BranchEnded(step.scope))
    else:
        complete_run(tx)


def complete_run(tx: RunTransaction) -> None:
    try:
        output = tx.context.evaluate(tx.definition.output, "", None, "output")
    except ExpressionError as error:
        tx.put(events.StopRun(statuses.FAILED, str(error)))
        return
    tx.run.output = output
    end_run(tx, statuses.COMPLETED, output=output)


def stop_run(tx: RunTransaction, status: str, reason: str | None, by: str | None) -> None:
    """End the run as failed or cancelled, as soon as everything to be undone is undone."""
    if tx.run.finished_at or tx.run.ends_as:
        return
    tx.run.ends_as = status
    tx.run.error = reason
    interruptible = compensation.get_interruptible_statuses(tx, status)
    end_everything_started_by(tx, None, NOT_NEEDED, interruptible)
    if compensation.will_compensate(tx, status):
        tx.set_status(statuses.COMPENSATING, by, error=reason, ends_as=status)
        compensate_next(tx)
    else:
        end_run(tx, status, by, error=reason)


def compensate_next(tx: RunTransaction) -> None:
    """Undo the next step; when none is left, end the run."""
    if tx.run.finished_at or compensation.has_open_steps(tx):
        return
    step = compensation.find_next_to_undo(tx)
    if step:
        scheduling.enter_compensation(tx, step)
        return
    tx.run.error = compensation.describe_failure(tx)
    end_run(tx, tx.run.ends_as or statuses.FAILED, error=tx.run.error)


def end_run(tx: RunTransaction, status: str, by: str | None = None, **data: Any) -> None:
    tx.run.finished_at = now()
    tx.set_status(status, by, **data)
    subworkflows.wake_parent(tx.session, tx.run)


def end_everything_started_by(
    tx: RunTransaction, owner: Step | None, reason: str, having: tuple[str, ...] = statuses.OPEN
) -> None:
    """End the branches, tasks and child runs of a step, or of the whole run without `owner`.

    Timers need no end: they look at steps that are open only.
    """
    cancelled = find_open_steps(tx, owner, having)
    for step in cancelled:
        mark_cancelled(tx, step)
    owners = [owner] if owner else []
    human_tasks.close_tasks(tx, owners, reason)
    human_tasks.close_tasks(tx, cancelled, NOT_NEEDED)
    for step in owners + cancelled:
        subworkflows.cancel_child(tx, step)


def find_open_steps(tx: RunTransaction, owner: Step | None, having: tuple[str, ...]) -> list[Step]:
    """Return steps with these statuses in the branches of a step, at any depth, or of the run."""
    if owner and not fan_out.has_branches(owner):
        return []
    tx.session.flush()
    found = compensation.select_steps(tx).where(Step.status.in_(having), Step.role != NOTICE)
    if owner:
        inside = owner.position.get_branch_scope("")
        found = found.where(Step.scope.startswith(inside, autoescape=True))
    return [*tx.session.scalars(found.order_by(Step.id))]
