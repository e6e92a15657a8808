"""The HTTP API, mounted at /api/v1."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request

from chassis.auth import User, require_permission
from chassis.idempotency import IdempotentRoute, idempotent
from chassis.pagination import Page, PageRequest

from . import approvals, definitions, workflows
from .ai import Summary
from .database import DbSession
from .engine.definition import Definition
from .engine.validation import check
from .kinds.ai_summarize import SummarizeInput, summary_of
from .models import Run, Task
from .neighbours import Neighbours
from .schemas import (
    Decision,
    DefinitionCreate,
    DefinitionName,
    DefinitionRead,
    EventRead,
    TaskRead,
    Verdict,
    WorkflowRead,
    WorkflowStart,
    WorkflowWithSteps,
)
from .tasks import Hint

router = APIRouter(route_class=IdempotentRoute)

DefinitionReader = Annotated[User, require_permission("definitions:read")]
DefinitionAuthor = Annotated[User, require_permission("definitions:write")]
Starter = Annotated[User, require_permission("workflows:start")]
Reader = Annotated[User, require_permission("workflows:read")]
ModelUser = Annotated[User, require_permission("ai:use")]

Name = Annotated[DefinitionName, Path()]
Version = Annotated[int | None, Query(ge=1, le=1_000_000_000)]
Status = Literal["running", "waiting", "completed", "failed", "cancelled"]

ONCE = [idempotent(DbSession)]  # for each Idempotency-Key


@router.get("/definitions", response_model=Page[DefinitionRead])
def list_definitions(
    reader: DefinitionReader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """The current versions, newest first."""
    return definitions.list_definitions(session, page)


@router.post("/definitions", response_model=DefinitionRead, status_code=201, dependencies=ONCE)
def create_definition(
    new: DefinitionCreate, author: DefinitionAuthor, session: DbSession
) -> dict[str, Any]:
    """Publish the first version of a definition."""
    return definitions.described(definitions.create_definition(session, author, new.name, new))


@router.post("/definitions/validate", response_model=Verdict)
def validate_definition(new: Definition, reader: DefinitionReader) -> Verdict:
    """Whether a definition could be published; otherwise everything that is wrong with it."""
    check(new)
    return Verdict()


@router.get("/definitions/{name}", response_model=DefinitionRead)
def read_definition(
    name: Name, reader: DefinitionReader, session: DbSession, version: Version = None
) -> dict[str, Any]:
    """The current version of a definition, or an older one."""
    return definitions.described(definitions.find_definition(session, name, version))


@router.put("/definitions/{name}", response_model=DefinitionRead)
def change_definition(
    name: Name, new: Definition, author: DefinitionAuthor, session: DbSession
) -> dict[str, Any]:
    """Publish the next version; runs that are under way stay with theirs."""
    return definitions.described(definitions.change_definition(session, author, name, new))


@router.delete("/definitions/{name}", status_code=204)
def delete_definition(name: Name, author: DefinitionAuthor, session: DbSession) -> None:
    """Nobody can start it any more; runs that are under way go on."""
    definitions.delete_definition(session, name)


@router.post("/workflows", response_model=WorkflowRead, status_code=201, dependencies=[*ONCE, Hint])
def start_workflow(new: WorkflowStart, starter: Starter, session: DbSession) -> Run:
    """Start a run of a definition, with your rights."""
    return workflows.start_workflow(session, starter, new)


@router.get("/workflows", response_model=Page[WorkflowRead])
def list_workflows(
    reader: Reader, session: DbSession, page: PageRequest, status: Status | None = None
) -> dict[str, Any]:
    """The runs you started; an administrator sees everybody's."""
    return workflows.list_workflows(session, reader, page, status)


@router.get("/workflows/{workflow_id}", response_model=WorkflowWithSteps)
def read_workflow(workflow_id: UUID, reader: Reader, session: DbSession) -> Run:
    """A run and its steps."""
    return workflows.find_workflow(session, reader, workflow_id)


@router.get("/workflows/{workflow_id}/history", response_model=Page[EventRead])
def read_history(
    workflow_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """Everything that happened in a run, newest first."""
    return workflows.list_history(session, reader, workflow_id, page)


@router.post("/workflows/{workflow_id}/cancel", response_model=WorkflowRead)
def cancel_workflow(workflow_id: UUID, starter: Starter, session: DbSession) -> Run:
    """End a run where it is."""
    return workflows.cancel_workflow(session, starter, workflow_id)


@router.post("/workflows/{workflow_id}/retry", response_model=WorkflowRead, dependencies=[Hint])
def retry_workflow(workflow_id: UUID, starter: Starter, session: DbSession) -> Run:
    """Go on with a failed run where it failed; what is done is not done again."""
    return workflows.retry_workflow(session, starter, workflow_id)


@router.get("/tasks", response_model=Page[TaskRead])
def list_tasks(reader: Reader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """The tasks assigned to you, open ones first."""
    return approvals.list_tasks(session, reader, page)


@router.get("/tasks/{task_id}", response_model=TaskRead)
def read_task(task_id: UUID, reader: Reader, session: DbSession) -> Task:
    """A task assigned to you."""
    return approvals.find_task(session, reader, task_id)


@router.post("/tasks/{task_id}/complete", response_model=TaskRead, dependencies=[Hint])
def complete_task(task_id: UUID, decided: Decision, reader: Reader, session: DbSession) -> Task:
    """Decide a task assigned to you, once and for all."""
    return approvals.complete_task(session, reader, task_id, decided)


def opened_neighbours(request: Request) -> Neighbours:
    found: Neighbours = request.app.state.neighbours
    return found


@router.post("/ai/summarize")
def summarize(
    new: SummarizeInput,
    user: ModelUser,
    neighbours: Annotated[Neighbours, Depends(opened_neighbours)],
) -> Summary:
    """A few sentences on a text, or on a document that you may read."""
    return summary_of(neighbours, new, user.user_id)
