"""What can be done with runs; seen by their starter, assignees of their tasks, and admins."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from chassis.auth import User
from chassis.claims import RUNNING
from chassis.errors import Conflict, Forbidden, NotFound, Unprocessable
from chassis.pagination import PageParameters, paginate
from chassis.tracing import trace_id

from .definitions import find_definition
from .engine import runs
from .engine.definition import Definition, refuse
from .models import Event, Run, Task
from .schemas import WorkflowStart

EVERY_RUN = "workflows:all"  # given to no role: only a permission of * holds it


class UnknownWorkflow(NotFound):
    """There is none, or the caller may not know that there is one."""


class InvalidInput(Unprocessable):
    """The input is not what the definition declares."""


class AlreadyStarted(Conflict):
    """The caller has started this definition with this business key before."""


class NotYourWorkflow(Forbidden):
    """The caller may look at the run, but not steer it."""


class WrongState(Conflict):
    """The run is not in a state in which this can be done."""


def start_workflow(session: Session, starter: User, new: WorkflowStart) -> Run:
    published = find_definition(session, new.definition)
    schema = Definition.model_validate(published.content).input
    refuse(schema.faults(new.input), InvalidInput)
    run = Run(
        published=published,
        definition=published.name,
        version=published.version,
        status=RUNNING,
        input=new.input,
        business_key=new.business_key,
        trace_id=trace_id(),
        started_by=starter.user_id,
    )
    session.add(run)
    try:
        session.flush()
    except IntegrityError as error:
        message = f"business_key: you have started {run.definition} with this one before"
        raise AlreadyStarted(message) from error
    runs.begin(session, run)
    return run


def list_workflows(
    session: Session, user: User, page: PageParameters, status: str | None
) -> dict[str, Any]:
    wanted = select(Run).where(own(user))
    if status is not None:
        wanted = wanted.where(Run.status == status)
    return paginate(session, wanted, page, Run.id)


def find_workflow(session: Session, user: User, workflow_id: UUID) -> Run:
    found = select(Run).where(Run.id == workflow_id, visible(user)).options(selectinload(Run.steps))
    run = session.scalar(found)
    if run is None:
        raise UnknownWorkflow("There is no such workflow")
    return run


def own(user: User) -> ColumnElement[bool]:
    return true() if user.may(EVERY_RUN) else Run.started_by == user.user_id


def visible(user: User) -> ColumnElement[bool]:
    assigned = select(Task.id).where(Task.workflow_id == Run.id, Task.assignee_id == user.user_id)
    return or_(own(user), assigned.exists())


def list_history(
    session: Session, user: User, workflow_id: UUID, page: PageParameters
) -> dict[str, Any]:
    run = find_workflow(session, user, workflow_id)
    return paginate(session, select(Event).where(Event.run_id == run.id), page, Event.id)


def cancel_workflow(session: Session, user: User, workflow_id: UUID) -> Run:
    """Nothing further is started; cancelling twice is the same as once."""
    run = held(session, user, workflow_id)
    if run.status in (runs.COMPLETED, runs.FAILED):
        raise WrongState(f"This workflow is {run.status}")
    if run.status != runs.CANCELLED:
        runs.end(session, run, runs.CANCELLED, by=user.user_id)
    return run


def retry_workflow(session: Session, user: User, workflow_id: UUID) -> Run:
    """A failed run goes on where it failed."""
    run = held(session, user, workflow_id)
    if run.status != runs.FAILED:
        raise WrongState(f"Only a failed workflow can be retried; this one is {run.status}")
    runs.retry(session, run, by=user.user_id)
    return run


def held(session: Session, user: User, workflow_id: UUID) -> Run:
    """The run, locked, for somebody who may steer it."""
    run = find_workflow(session, user, workflow_id)
    if run.started_by != user.user_id and not user.may(EVERY_RUN):
        raise NotYourWorkflow("Only who started this workflow may do this")
    return runs.hold(session, run.id)
