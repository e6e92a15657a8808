"""What people can do with the tasks that runs open for them."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, NotFound
from chassis.pagination import PageParameters, paginate

from .engine import runs
from .models import Step, Task
from .schemas import Decision


class UnknownTask(NotFound):
    """There is none, or it is somebody else's."""


class TaskClosed(Conflict):
    """It was decided before, or its run has ended without it."""


def list_tasks(session: Session, assignee: User, page: PageParameters) -> dict[str, Any]:
    mine = select(Task).where(Task.assignee_id == assignee.user_id)
    return paginate(session, mine, page, Task.status, Task.id)  # open, completed, cancelled


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
    runs.show_status(session, run)
    return task
