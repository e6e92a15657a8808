"""How a run moves. Everything here happens in a transaction that holds the run's row."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from chassis.claims import DEAD, DONE, PENDING, RUNNING

from ..models import Event, Run, Step, Task
from .definition import Definition, StepDefinition
from .expressions import ExpressionError, Scope, evaluate, evaluate_all, scope
from .outcomes import Ask

WAITING, COMPLETED, FAILED, CANCELLED = "waiting", "completed", "failed", "cancelled"
UNFINISHED = (PENDING, RUNNING, WAITING)


def now() -> datetime:
    return datetime.now(UTC)


def hold(session: Session, run_id: UUID) -> Run:
    """The run, locked: whoever wants to move it comes one after the other."""
    # NO KEY UPDATE: a plain FOR UPDATE would also keep out the claim of another of its steps,
    # whose line of history refers to the run.
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
    step = Step(run_id=run.id, name=name, kind=definition_of(run).steps[name].kind)
    session.add(step)
    session.flush()
    make_ready(session, run, step)


def make_ready(session: Session, run: Run, step: Step) -> None:
    """Puts a step into the queue. Its input is worked out once: every attempt gets the same."""
    inputs = definition_of(run).steps[step.name].inputs
    try:
        if step.input is None:
            step.input = evaluate_all(inputs, sight(session, run), f"steps.{step.name}.with")
    except ExpressionError as error:
        return stop(session, run, step, str(error))
    step.status, step.run_at, step.attempts, step.polls = PENDING, now(), 0, 0
    step.last_error, step.finished_at = None, None
    record(session, run, "step.ready", step, input=step.input)


def sight(session: Session, run: Run) -> Scope:
    """What the run's expressions see."""
    done = select(Step.name, Step.output).where(Step.run_id == run.id, Step.status == DONE)
    outputs = {name: output for name, output in session.execute(done)}
    about = {"id": str(run.id), "started_by": run.started_by, "business_key": run.business_key}
    return scope(input=run.input, steps=outputs, run=about)


def finish_step(
    session: Session, run: Run, step: Step, output: dict[str, Any], by: str | None = None
) -> None:
    """The step is done; what follows it is made ready."""
    step.status, step.output, step.finished_at = DONE, output, now()
    session.flush()
    try:
        following = way_on(definition_of(run).steps[step.name], sight(session, run))
    except ExpressionError as error:
        return stop(session, run, step, str(error))
    record(session, run, "step.done", step, by, output=output, next=following)
    if following:
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
    about = {"assignee_id": asked.assignee_id, "title": asked.title, "subject": asked.subject}
    # merge: when the step is retried, its cancelled task is opened again
    session.merge(Task(id=step.id, workflow_id=run.id, step=step.name, status="open", **about))
    step.status = WAITING
    record(session, run, "task.opened", step, None, **about)


def show_status(session: Session, run: Run) -> None:
    """The run is what its steps are: running, waiting, or completed when all are finished."""
    unfinished = select(Step.status).where(Step.run_id == run.id, Step.status.in_(UNFINISHED))
    statuses = {*session.scalars(unfinished)}
    status = COMPLETED if not statuses else WAITING if statuses == {WAITING} else RUNNING
    if run.status in (status, FAILED, CANCELLED):
        return
    if status == COMPLETED:
        return complete(session, run)
    run.status = status
    record(session, run, f"run.{status}")


def complete(session: Session, run: Run) -> None:
    try:
        run.output = evaluate_all(definition_of(run).output, sight(session, run), "output")
        end(session, run, COMPLETED, output=run.output)
    except ExpressionError as error:
        run.error = str(error)
        end(session, run, FAILED, error=run.error)


def stop(session: Session, run: Run, step: Step, reason: str) -> None:
    """The step has failed for good, and the run with it."""
    step.status, step.output, step.last_error, step.finished_at = DEAD, None, reason, now()
    record(session, run, "step.dead", step, error=reason)
    run.error = f"{step.name}: {reason}"
    end(session, run, FAILED, error=run.error)


def end(session: Session, run: Run, status: str, by: str | None = None, **data: Any) -> None:
    """Whatever is open is closed; a worker that is busy with it will find its answer refused."""
    steps = update(Step).where(Step.run_id == run.id, Step.status.in_(UNFINISHED))
    tasks = update(Task).where(Task.workflow_id == run.id, Task.status == "open")
    for step in session.scalars(steps.values(status=CANCELLED, finished_at=now()).returning(Step)):
        record(session, run, "step.cancelled", step)
    session.execute(tasks.values(status=CANCELLED))
    run.status, run.finished_at = status, now()
    record(session, run, f"run.{status}", by=by, **data)


def retry(session: Session, run: Run, by: str) -> None:
    """A failed run goes on with what failed; what is done stays done."""
    run.status, run.error, run.finished_at = RUNNING, None, None
    record(session, run, "run.retried", by=by)
    broken = select(Step).where(Step.run_id == run.id, Step.status.in_((DEAD, CANCELLED)))
    for step in session.scalars(broken.order_by(Step.id)):
        if run.status == RUNNING:
            make_ready(session, run, step)
    show_status(session, run)
