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

from .approvals import asked_of
from .definition.model import Definition, refuse
from .definitions import find_definition
from .engine import reruns, transaction, transitions
from .engine.reruns import BusinessKeyTaken
from .engine.statuses import CANCELLED, FAILED, tells
from .engine.transaction import Move
from .models import AiCall, DefinitionVersion, Event, Run, Step, Task
from .schemas import Rerun, Retry, WorkflowStart

EVERY_RUN = "workflows:all"  # given to no role: only a permission of * holds it
MOST_SHOWN = 1000  # steps of a run


class InvalidInput(Unprocessable):
    """The input is not what the definition declares."""


class UnknownWorkflow(NotFound):
    """There is none, or the caller may not know that there is one."""


def start_workflow(session: Session, starter: User, new: WorkflowStart) -> tuple[Run, bool]:
    """The run, and whether it is new: a business key that is in use gives the run that has it."""
    if known := run_of_key(session, starter, new):
        return known, False
    published = find_definition(session, new.definition)
    run = Run(
        published=published, definition=published.name, version=published.version, status=RUNNING,
        input=new.input, trace_id=get_trace_id(), started_by=starter.user_id,
        business_key=new.business_key,
    )  # fmt: skip
    refuse(transaction.definition_of(run).input.faults(run.input), InvalidInput)
    try:
        with session.begin_nested():
            session.add(run)
    except IntegrityError:  # somebody was faster with the key
        known = run_of_key(session, starter, new)
        if known is None:
            raise
        return known, False
    with session.no_autoflush:
        move = Move(session, run)
        transitions.begin(move)
        transaction.write(session, [move])
    return run, True


def run_of_key(session: Session, starter: User, new: WorkflowStart) -> Run | None:
    if new.business_key is None:
        return None
    about = {"definition": new.definition, "business_key": new.business_key}
    same = select(Run).filter_by(started_by=starter.user_id, **about)
    run = session.scalar(same.where(Run.status.not_in((FAILED, CANCELLED))))
    if run and run.input != new.input:
        raise BusinessKeyTaken(f"The run {run.id} of this business key has another input")
    return run


def list_workflows(session: Session, user: User, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select(Run).where(own(user)), page, Run.id)


def find_workflow(session: Session, user: User, workflow_id: UUID) -> Run:
    """One's own, or one with a task that one was asked to decide."""
    asked = select(Task.id).where(Task.workflow_id == Run.id, asked_of(user))
    run = session.scalar(select(Run).where(Run.id == workflow_id, or_(own(user), asked.exists())))
    if run is None:
        raise UnknownWorkflow("There is no such workflow")
    return run


def own(user: User) -> ColumnElement[bool]:
    return true() if user.has_permission(EVERY_RUN) else Run.started_by == user.user_id


def with_steps(session: Session, user: User, workflow_id: UUID) -> dict[str, Any]:
    run = find_workflow(session, user, workflow_id)
    newest = select(Step).where(Step.run_id == run.id, ~tells(Step)).order_by(Step.id.desc())
    steps = session.scalars(newest.limit(MOST_SHOWN)).all()
    return {**vars(run), "steps": steps[::-1], "usage": usage(session, AiCall.run_id == run.id)}


def usage(session: Session, which: ColumnElement[bool]) -> dict[str, Any]:
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
    run = find_workflow(session, user, workflow_id)
    lines = select(Event).where(Event.run_id == run.id)
    return paginate(session, lines, page, Event.id, oldest_first=True)


def list_steps(
    session: Session, user: User, workflow_id: UUID, page: PageParameters
) -> dict[str, Any]:
    run = find_workflow(session, user, workflow_id)
    steps = select(Step).where(Step.run_id == run.id)
    return paginate(session, steps, page, Step.id, oldest_first=True)


def control(
    session: Session, user: User, workflow_id: UUID, what: Callable[[Move, str | None], None]
) -> Run:
    """Pause, resume, cancel: for whoever started the run, and administrators."""
    run = find_own(session, user, workflow_id)
    with transaction.moving(session, run.id) as move:
        what(move, user.user_id)
    return move.run


def find_own(session: Session, user: User, workflow_id: UUID) -> Run:
    run = find_workflow(session, user, workflow_id)
    if run.started_by != user.user_id and not user.has_permission(EVERY_RUN):
        raise Forbidden("Only who started the run may do this")
    return run


def retry(session: Session, user: User, workflow_id: UUID, wanted: Retry) -> Run:
    old = find_own(session, user, workflow_id)
    version = version_of(session, old, wanted)
    with session.no_autoflush:
        return reruns.retry(session, old, version, str(get_trace_id()), user.user_id)


def rerun(session: Session, user: User, workflow_id: UUID, wanted: Rerun) -> Run:
    old = find_own(session, user, workflow_id)
    version = version_of(session, old, wanted)
    with session.no_autoflush:
        return reruns.rerun(
            session, old, version, str(get_trace_id()), user.user_id, wanted.from_step
        )


def version_of(session: Session, old: Run, wanted: Retry) -> DefinitionVersion:
    """Pinned: that of the old run. Raises InvalidInput when the latest takes another input."""
    if wanted.version == "pinned":
        return old.published
    latest = find_definition(session, old.definition)
    refuse(transaction.parsed(latest).input.faults(old.input), InvalidInput)
    return latest


def states(
    session: Session, user: User, workflow_id: UUID
) -> tuple[Definition, dict[str, Counter[str]]]:
    """The run's definition, and how many of each of its steps are in which state."""
    run = find_workflow(session, user, workflow_id)
    found: dict[str, Counter[str]] = {}
    counts = select(Step.name, Step.status, func.count()).where(Step.run_id == run.id)
    for name, status, count in session.execute(counts.group_by(Step.name, Step.status)):
        found.setdefault(name, Counter())[status] = count
    return transaction.definition_of(run), found
