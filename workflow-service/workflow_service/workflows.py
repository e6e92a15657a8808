"""What users can do with runs: start, read, pause, resume, cancel, retry and rerun them."""

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
from .engine.events import StartRun
from .engine.reruns import BusinessKeyTaken, Successor
from .engine.statuses import CANCELLED, FAILED
from .engine.transaction import RunTransaction, parse_definition
from .graph import StatusCounts
from .models import NOTICE, WORK, AiCall, Event, Run, Step, Task
from .schemas import TotalModelUsage, WorkflowRerun, WorkflowRetry, WorkflowStart, WorkflowWithSteps

ALL_WORKFLOWS_PERMISSION = "workflows:all"  # no role has it by name, so only `*` grants it
MAX_STEPS_SHOWN = 1000


class InvalidInput(Unprocessable):
    """Raised when the input does not match the schema in the definition."""


class UnknownWorkflow(NotFound):
    """Raised when the run does not exist, or the caller may not know about it."""


class NotRunOwner(Forbidden):
    """Raised when someone else started the run, which the caller may only read."""


def start_workflow(session: Session, starter: User, new: WorkflowStart) -> tuple[Run, bool]:
    """Start a run, or find the one with the same business key; returns whether it is new."""
    if existing := find_run_by_key(session, starter, new):
        return existing, False
    run = build_run(session, starter, new)
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError:
        # Another request has started a run with this business key in the meantime.
        if existing := find_run_by_key(session, starter, new):
            return existing, False
        raise
    with session.no_autoflush:
        tx = RunTransaction(session, run)
        transitions.process(tx, StartRun())
        transaction.save_transactions(session, [tx])
    return run, True


def build_run(session: Session, starter: User, new: WorkflowStart) -> Run:
    """Create a run of the current version. Raises InvalidInput."""
    published = get_definition(session, new.definition)
    run = Run(
        published=published,
        definition=published.name,
        version=published.version,
        status=RUNNING,
        input=new.input,
        trace_id=get_trace_id(),
        started_by=starter.user_id,
        business_key=new.business_key,
    )
    raise_for_faults(transaction.get_definition(run).input.find_faults(run.input), InvalidInput)
    return run


def find_run_by_key(session: Session, starter: User, new: WorkflowStart) -> Run | None:
    """Find the starter's run with this business key that has not failed or been cancelled."""
    if new.business_key is None:
        return None
    same_key = select(Run).filter_by(
        started_by=starter.user_id, definition=new.definition, business_key=new.business_key
    )
    run = session.scalar(same_key.where(Run.status.not_in((FAILED, CANCELLED))))
    if run and run.input != new.input:
        message = f"The run {run.id} has this business key and another input; use a new key"
        raise BusinessKeyTaken(message)
    return run


def list_workflows(session: Session, user: User, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select(Run).where(is_owned_by(user)), page, Run.id)


def get_workflow(session: Session, user: User, run_id: UUID) -> Run:
    """Return a run that the user started or has a task in. Raises UnknownWorkflow."""
    assigned = select(Task.id).where(Task.workflow_id == Run.id, is_assigned_to(user)).exists()
    is_visible = or_(is_owned_by(user), assigned)
    run = session.scalar(select(Run).where(Run.id == run_id, is_visible))
    if run is None:
        raise UnknownWorkflow("There is no such workflow")
    return run


def is_owned_by(user: User) -> ColumnElement[bool]:
    """Match the runs that the user started; all runs for an administrator."""
    is_administrator = user.has_permission(ALL_WORKFLOWS_PERMISSION)
    return true() if is_administrator else Run.started_by == user.user_id


def get_workflow_with_steps(session: Session, user: User, run_id: UUID) -> WorkflowWithSteps:
    run = get_workflow(session, user, run_id)
    newest = select(Step).where(Step.run_id == run.id, Step.role != NOTICE).order_by(Step.id.desc())
    steps = session.scalars(newest.limit(MAX_STEPS_SHOWN)).all()
    usage = sum_usage(session, AiCall.run_id == run.id)
    return WorkflowWithSteps.model_validate({**vars(run), "steps": steps[::-1], "usage": usage})


def sum_usage(session: Session, calls: ColumnElement[bool]) -> TotalModelUsage:
    columns = (AiCall.input_tokens, AiCall.output_tokens, AiCall.cost_usd)
    sums = [func.coalesce(func.sum(column), 0).label(column.key) for column in columns]
    totals = select(func.count().label("calls"), *sums).where(calls)
    return TotalModelUsage(**session.execute(totals).mappings().one())


def list_history(
    session: Session, user: User, run_id: UUID, page: PageParameters
) -> dict[str, Any]:
    events = select(Event).filter_by(run_id=get_workflow(session, user, run_id).id)
    return paginate(session, events, page, Event.id, oldest_first=True)


def list_steps(
    session: Session, user: User, run_id: UUID, role: str, page: PageParameters
) -> dict[str, Any]:
    steps = select(Step).filter_by(run_id=get_workflow(session, user, run_id).id, role=role)
    return paginate(session, steps, page, Step.id, oldest_first=True)


def control_workflow(
    session: Session, user: User, run_id: UUID, action: Callable[[RunTransaction, str | None], None]
) -> Run:
    """Pause, resume or cancel a run, with the run locked. Raises NotRunOwner."""
    run = get_controlled_run(session, user, run_id)
    with transaction.lock_run(session, run.id) as tx:
        action(tx, user.user_id)
    return tx.run


def get_controlled_run(session: Session, user: User, run_id: UUID) -> Run:
    """Return a run that the user started; any run for an administrator. Raises NotRunOwner."""
    run = get_workflow(session, user, run_id)
    if run.started_by != user.user_id and not user.has_permission(ALL_WORKFLOWS_PERMISSION):
        raise NotRunOwner("Only the user who started this run may do this")
    return run


def retry_workflow(session: Session, user: User, run_id: UUID, wanted: WorkflowRetry) -> Run:
    old = get_controlled_run(session, user, run_id)
    successor = build_successor(session, user, old, wanted)
    with session.no_autoflush:
        return reruns.retry_run(session, old, successor)


def rerun_workflow(session: Session, user: User, run_id: UUID, wanted: WorkflowRerun) -> Run:
    old = get_controlled_run(session, user, run_id)
    successor = build_successor(session, user, old, wanted)
    with session.no_autoflush:
        return reruns.rerun_from_step(session, old, successor, wanted.from_step)


def build_successor(session: Session, user: User, old: Run, wanted: WorkflowRetry) -> Successor:
    """Choose the old run's version or the latest one. Raises InvalidInput."""
    is_pinned = wanted.version == "pinned"
    version = old.published if is_pinned else get_definition(session, old.definition)
    if not is_pinned:
        raise_for_faults(parse_definition(version).input.find_faults(old.input), InvalidInput)
    return Successor(version, str(get_trace_id()), user.user_id)


def get_progress(session: Session, user: User, run_id: UUID) -> tuple[Definition, StatusCounts]:
    """Return what a graph shows: the definition, and how often each step has each status."""
    run = get_workflow(session, user, run_id)
    status_counts: dict[str, Counter[str]] = {}
    counts = select(Step.name, Step.status, func.count()).filter_by(run_id=run.id, role=WORK)
    for name, status, count in session.execute(counts.group_by(Step.name, Step.status)):
        status_counts.setdefault(name, Counter())[status] = count
    return transaction.get_definition(run), status_counts
