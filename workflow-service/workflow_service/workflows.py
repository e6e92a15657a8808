"""What people can do with runs, and with the tasks that runs open for them."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import Session, selectinload

from chassis.auth import User
from chassis.claims import RUNNING
from chassis.errors import Conflict, NotFound, Unprocessable
from chassis.pagination import PageParameters, paginate
from chassis.tracing import trace_id

from .definitions import find_definition
from .engine import runs
from .engine.definition import refuse
from .models import Event, Run, Step, Task
from .schemas import Decision, WorkflowStart

EVERY_RUN = "workflows:all"  # given to no role: only a permission of * holds it


class InvalidInput(Unprocessable):
    """The input is not what the definition declares."""


class UnknownWorkflow(NotFound):
    """There is none, or the caller may not know that there is one."""


class UnknownTask(NotFound):
    """There is none, or it is somebody else's."""


class TaskClosed(Conflict):
    """It was decided before."""


def start_workflow(session: Session, starter: User, new: WorkflowStart) -> Run:
    published = find_definition(session, new.definition)
    run = Run(
        published=published,
        definition=published.name,
        version=published.version,
        status=RUNNING,
        input=new.input,
        trace_id=trace_id(),
        started_by=starter.user_id,
    )
    refuse(runs.definition_of(run).input.faults(run.input), InvalidInput)
    session.add(run)
    session.flush()
    runs.begin(session, run)
    return run


def list_workflows(session: Session, user: User, page: PageParameters) -> dict[str, Any]:
    return paginate(session, select(Run).where(own(user)), page, Run.id)


def find_workflow(session: Session, user: User, workflow_id: UUID) -> Run:
    """One's own, or one with a task assigned to one."""
    assigned = select(Task.id).where(Task.workflow_id == Run.id, Task.assignee_id == user.user_id)
    visible = select(Run).where(Run.id == workflow_id, or_(own(user), assigned.exists()))
    run = session.scalar(visible.options(selectinload(Run.steps)))
    if run is None:
        raise UnknownWorkflow("There is no such workflow")
    return run


def own(user: User) -> ColumnElement[bool]:
    return true() if user.may(EVERY_RUN) else Run.started_by == user.user_id


def list_history(
    session: Session, user: User, workflow_id: UUID, page: PageParameters
) -> dict[str, Any]:
    run = find_workflow(session, user, workflow_id)
    return paginate(session, select(Event).where(Event.run_id == run.id), page, Event.id)


def list_tasks(session: Session, assignee: User, page: PageParameters) -> dict[str, Any]:
    mine = select(Task).where(Task.assignee_id == assignee.user_id)
    return paginate(session, mine, page, Task.status, Task.id)  # open, completed


def find_task(session: Session, assignee: User, task_id: UUID) -> Task:
    mine = select(Task).where(Task.id == task_id, Task.assignee_id == assignee.user_id)
    task = session.scalar(mine)
    if task is None:
        raise UnknownTask("You have no such task")
    return task


def complete_task(session: Session, assignee: User, task_id: UUID, decided: Decision) -> Task:
    """The decision is final. The task's step is done with it, and its run goes on."""
    task = find_task(session, assignee, task_id)
    run = runs.hold(session, task.workflow_id)
    session.refresh(task)  # as it is now that nobody else can move the run
    if task.status != "open":
        raise TaskClosed(f"This task is {task.status}")
    task.status, task.decided_at = "completed", runs.now()
    task.decision, task.comment = decided.decision, decided.comment
    output = {**decided.model_dump(), "decided_by": assignee.user_id}
    runs.finish_step(session, run, session.get_one(Step, task.id), output, by=assignee.user_id)
    return task
