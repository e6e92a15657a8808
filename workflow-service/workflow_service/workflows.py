"""What people can do with runs."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Forbidden, NotFound, Unprocessable
from chassis.job_queue import RUNNING
from chassis.pagination import PageParameters, paginate
from chassis.tracing import get_trace_id

from .approvals import is_assigned_to
from .definition.model import Definition, raise_for_faults
from .definitions import get_definition
from .engine import reruns, transaction, transitions
from .engine.reruns import BusinessKeyTaken
from .engine.statuses import CANCELLED, FAILED, is_notice
from .engine.transaction import RunTransaction
from .models import AiCall, DefinitionVersion, Event, Run, Step, Task
from .schemas.workflows import WorkflowRerun, WorkflowRetry, WorkflowStart

ALL_WORKFLOWS_PERMISSION = "workflows:all"  # given to no role: only a permission of * holds it
MAX_STEPS_SHOWN = 1000  # steps of a run


class InvalidInput(Unprocessable):
    """The input is not what the definition declares."""


class UnknownWorkflow(NotFound):
    """There is none, or the caller may not know that there is one."""


def start_workflow(session: Session, starter: User, new: WorkflowStart) -> tuple[Run, bool]:
    """The run, and whether it is new: a business key that is in use gives the run that has it."""
    if known := find_run_by_key(session, starter, new):
        return known, False
    published = get_definition(session, new.definition)
    run = Run(
        published=published, definition=published.name, version=published.version, status=RUNNING,
        input=new.input, trace_id=get_trace_id(), started_by=starter.user_id,
        business_key=new.business_key,
    )  # fmt: skip
    raise_for_faults(transaction.get_definition(run).input.find_faults(run.input), InvalidInput)
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError:  # somebody was faster with the key
        known = find_run_by_key(session, starter, new)
        if known is None:
            raise
        return known, False
    with session.no_autoflush:
        tx = RunTransaction(session, run)
        transitions.start_run(tx)
        transaction.save_transactions(session, [tx])
    return run, True


def find_run_by_key(session: Session, starter: User, new: WorkflowStart) -> Run | None:
    if new.business_key is None:
        return None
    about = {"definition": new.definition, "business_key": new.business_key}
    same = select(Run).filter_by(started_by=starter.user_id, **about)
    run = session.scalar(same.where(Run.status.not_in((FAILED, CANCELLED))))
    if run and run.input != new.input:
        raise BusinessKeyTaken(f"The run {run.id} of this business key has another input")
    return run


def list_workflows(session: Session, user: User, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select(Run).where(is_owned_by(user)), page, Run.id)


def get_workflow(session: Session, user: User, workflow_id: UUID) -> Run:
    """One's own, or one with a task that one was asked to decide."""
    asked = select(Task.id).where(Task.workflow_id == Run.id, is_assigned_to(user))
    run = session.scalar(
        select(Run).where(Run.id == workflow_id, or_(is_owned_by(user), asked.exists()))
    )
    if run is None:
        raise UnknownWorkflow("There is no such workflow")
    return run


def is_owned_by(user: User) -> ColumnElement[bool]:
    return (
        true() if user.has_permission(ALL_WORKFLOWS_PERMISSION) else Run.started_by == user.user_id
    )


def get_workflow_with_steps(session: Session, user: User, workflow_id: UUID) -> dict[str, Any]:
    run = get_workflow(session, user, workflow_id)
    newest = select(Step).where(Step.run_id == run.id, ~is_notice(Step)).order_by(Step.id.desc())
    steps = session.scalars(newest.limit(MAX_STEPS_SHOWN)).all()
    return {**vars(run), "steps": steps[::-1], "usage": sum_usage(session, AiCall.run_id == run.id)}


def sum_usage(session: Session, which: ColumnElement[bool]) -> dict[str, Any]:
    sums = (
        func.sum(AiCall.input_tokens),
        func.sum(AiCall.output_tokens),
        func.sum(AiCall.cost_usd),
    )
    row = session.execute(select(func.count(), *sums).where(which)).one()
    names = ("calls", "input_tokens", "output_tokens", "cost_usd")
    return {name: value or 0 for name, value in zip(names, row, strict=True)}


def list_history(
    session: Session, user: User, workflow_id: UUID, page: PageParameters
) -> dict[str, Any]:
    """From its beginning."""
    run = get_workflow(session, user, workflow_id)
    lines = select(Event).where(Event.run_id == run.id)
    return paginate(session, lines, page, Event.id, oldest_first=True)


def list_steps(
    session: Session, user: User, workflow_id: UUID, page: PageParameters
) -> dict[str, Any]:
    run = get_workflow(session, user, workflow_id)
    steps = select(Step).where(Step.run_id == run.id)
    return paginate(session, steps, page, Step.id, oldest_first=True)


def control_workflow(
    session: Session,
    user: User,
    workflow_id: UUID,
    action: Callable[[RunTransaction, str | None], None],
) -> Run:
    """Pause, resume, cancel: for whoever started the run, and administrators."""
    run = get_controlled_run(session, user, workflow_id)
    with transaction.lock_run(session, run.id) as tx:
        action(tx, user.user_id)
    return tx.run


def get_controlled_run(session: Session, user: User, workflow_id: UUID) -> Run:
    run = get_workflow(session, user, workflow_id)
    if run.started_by != user.user_id and not user.has_permission(ALL_WORKFLOWS_PERMISSION):
        raise Forbidden("Only who started the run may do this")
    return run


def retry_workflow(session: Session, user: User, workflow_id: UUID, wanted: WorkflowRetry) -> Run:
    old = get_controlled_run(session, user, workflow_id)
    version = choose_version(session, old, wanted)
    with session.no_autoflush:
        return reruns.retry_run(session, old, version, str(get_trace_id()), user.user_id)


def rerun_workflow(session: Session, user: User, workflow_id: UUID, wanted: WorkflowRerun) -> Run:
    old = get_controlled_run(session, user, workflow_id)
    version = choose_version(session, old, wanted)
    with session.no_autoflush:
        return reruns.rerun_from_step(
            session, old, version, str(get_trace_id()), user.user_id, wanted.from_step
        )


def choose_version(session: Session, old: Run, wanted: WorkflowRetry) -> DefinitionVersion:
    """Pinned: that of the old run. Raises InvalidInput when the latest takes another input."""
    if wanted.version == "pinned":
        return old.published
    latest = get_definition(session, old.definition)
    raise_for_faults(
        transaction.parse_definition(latest).input.find_faults(old.input), InvalidInput
    )
    return latest


def count_step_states(
    session: Session, user: User, workflow_id: UUID
) -> tuple[Definition, dict[str, Counter[str]]]:
    """The run's definition, and how many of each of its steps are in which state."""
    run = get_workflow(session, user, workflow_id)
    found: dict[str, Counter[str]] = {}
    counts = select(Step.name, Step.status, func.count()).where(Step.run_id == run.id)
    for name, status, count in session.execute(counts.group_by(Step.name, Step.status)):
        found.setdefault(name, Counter())[status] = count
    return transaction.get_definition(run), found
