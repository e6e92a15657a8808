"""Tasks: decisions that runs ask users for, such as approvals."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query

from chassis.openapi import raises
from chassis.pagination import Page, PageRequest
from chassis.routing import APIRouter

from .. import approvals
from ..approvals import NotAssigned, Outdated, TaskClosed
from ..database import DbSession, session_maker
from ..models import Task
from ..schemas import TaskDecision, TaskRead, TaskStatus
from .dependencies import NOTIFY_WORKERS, NeighbourClients, RunReader

OfWorkflow = Annotated[UUID | None, Query(description="Only the tasks of this run.")]
WithStatus = Annotated[TaskStatus | None, Query(description="Only the tasks with this status.")]

router = APIRouter(prefix="/tasks", tags=["Tasks"])


@router.get("", response_model=Page[TaskRead])
def list_tasks(
    reader: RunReader,
    session: DbSession,
    page: PageRequest,
    workflow_id: OfWorkflow = None,
    status: WithStatus = None,
) -> dict[str, Any]:
    """List the tasks that are assigned to you or to one of your roles, open tasks first."""
    return approvals.list_tasks(session, reader, page, workflow_id=workflow_id, status=status)


@router.get("/{task_id}", response_model=TaskRead)
@raises(approvals.UnknownTask)
def read_task(task_id: UUID, reader: RunReader, session: DbSession) -> Task:
    """Read a task that is assigned to you, or that belongs to a run you started."""
    return approvals.get_task(session, reader, task_id)


@router.post("/{task_id}/complete", response_model=TaskRead, dependencies=NOTIFY_WORKERS)
@raises(approvals.UnknownTask, NotAssigned, TaskClosed, Outdated)
def complete_task(
    task_id: UUID,
    decision: TaskDecision,
    reader: RunReader,
    neighbours: NeighbourClients,
    session: DbSession,
) -> Task:
    """Decide a task that is assigned to you. A decision is final, and the run goes on with it."""
    approvals.check_document_unchanged(session_maker, neighbours, reader, task_id)
    return approvals.complete_task(session, reader, task_id, decision)
