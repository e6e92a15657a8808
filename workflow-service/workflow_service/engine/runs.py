"""How a run moves. Everything here happens in a transaction that holds the run's row.

A run has one unfinished step at a time: pending, running, or waiting for a person.
"""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.claims import DEAD, DONE, RUNNING

from ..models import Event, Run, Step, Task
from .definition import Definition, StepDefinition
from .expressions import ExpressionError, Scope, evaluate, evaluate_all, scope
from .outcomes import Ask

WAITING, COMPLETED, FAILED = "waiting", "completed", "failed"


def now() -> datetime:
    return datetime.now(UTC)


def hold(session: Session, run_id: UUID) -> Run:
    """The run, locked: whoever wants to move it comes one after the other."""
    # NO KEY UPDATE: a plain FOR UPDATE would also keep out another claim of its step, whose line
    # of history refers to the run.
    locked = select(Run).where(Run.id == run_id).with_for_update(key_share=True, of=Run)
    return session.scalars(locked.execution_options(populate_existing=True)).one()


def record(
    session: Session,
    run: Run,
    type: str,
    step: Step | None = None,
    by: str | None = None,
    **data: Any,
) -> None:
    """A line of history, in the transaction of what happened: both are there or neither is.

    The lines of a run say everything that its state is made of.
    """
    about = {"step_id": step.id, "step": step.name, "attempt": step.attempts} if step else {}
    session.add(Event(run_id=run.id, type=type, actor_id=by, data=data, **about))
    session.flush()  # they are numbered in the order in which things happened


def definition_of(run: Run) -> Definition:
    return Definition.model_validate(run.published.content)


def begin(session: Session, run: Run) -> None:
    about = {"definition": run.definition, "version": run.version, "input": run.input}
    record(session, run, "run.started", None, run.started_by, **about)
    add_step(session, run, definition_of(run).start)


def add_step(session: Session, run: Run, name: str) -> None:
    """Puts a step into the queue. Its input is worked out once: every attempt gets the same."""
    defined = definition_of(run).steps[name]
    step = Step(run_id=run.id, name=name, kind=defined.kind)
    session.add(step)
    session.flush()
    try:
        step.input = evaluate_all(defined.inputs, sight(session, run), f"steps.{name}.with")
    except ExpressionError as error:
        return stop(session, run, step, str(error))
    record(session, run, "step.ready", step, input=step.input)


def sight(session: Session, run: Run) -> Scope:
    """What the run's expressions see."""
    done = select(Step.name, Step.output).where(Step.run_id == run.id, Step.status == DONE)
    outputs = {name: output for name, output in session.execute(done)}
    about = {"id": str(run.id), "started_by": run.started_by}
    return scope(input=run.input, steps=outputs, run=about)


def finish_step(
    session: Session, run: Run, step: Step, output: dict[str, Any], by: str | None = None
) -> None:
    """The step is done; what follows it is made ready, or the run is complete."""
    step.status, step.output, step.finished_at = DONE, output, now()
    try:
        following = way_on(definition_of(run).steps[step.name], sight(session, run))
    except ExpressionError as error:
        return stop(session, run, step, str(error))
    record(session, run, "step.done", step, by, output=output, next=following)
    if following is None:
        return complete(session, run)
    show_status(session, run, RUNNING)
    add_step(session, run, following)


def way_on(step: StepDefinition, sees: Scope) -> str | None:
    """The name of the following step; None at an end."""
    for choice in step.choices:
        is_so = evaluate(choice.when, sees)
        if not isinstance(is_so, bool):
            raise ExpressionError(f"{choice.when} is neither true nor false")
        if is_so:
            return choice.next
    return step.otherwise or step.next


def open_task(session: Session, run: Run, step: Step, asked: Ask) -> None:
    step.status, about = WAITING, asdict(asked)
    session.add(Task(id=step.id, workflow_id=run.id, step=step.name, status="open", **about))
    record(session, run, "task.opened", step, None, **about)
    show_status(session, run, WAITING)


def show_status(session: Session, run: Run, status: str, **data: Any) -> None:
    if run.status != status:
        run.status = status
        record(session, run, f"run.{status}", **data)


def complete(session: Session, run: Run) -> None:
    try:
        run.output = evaluate_all(definition_of(run).output, sight(session, run), "output")
    except ExpressionError as error:
        return fail(session, run, str(error))
    run.finished_at = now()
    show_status(session, run, COMPLETED, output=run.output)


def stop(session: Session, run: Run, step: Step, reason: str) -> None:
    """The step has failed for good, and the run with it."""
    step.status, step.output, step.last_error, step.finished_at = DEAD, None, reason, now()
    record(session, run, "step.dead", step, error=reason)
    fail(session, run, f"{step.name}: {reason}")


def fail(session: Session, run: Run, reason: str) -> None:
    run.error, run.finished_at = reason, now()
    show_status(session, run, FAILED, error=reason)
