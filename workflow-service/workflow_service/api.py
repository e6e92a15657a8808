"""The HTTP API, mounted at /api/v1."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter

from chassis.auth import User, require_permission
from chassis.idempotency import IdempotentRoute, idempotent
from chassis.pagination import Page, PageRequest

from . import definitions, schemas, workflows
from .database import DbSession
from .engine.definition import Definition
from .engine.validation import check
from .models import Run, Task
from .schemas import DefinitionName, DefinitionRead, EventRead, TaskRead, WorkflowRead
from .tasks import Hint

router = APIRouter(route_class=IdempotentRoute)

DefinitionReader = Annotated[User, require_permission("definitions:read")]
DefinitionAuthor = Annotated[User, require_permission("definitions:write")]
Starter = Annotated[User, require_permission("workflows:start")]
Reader = Annotated[User, require_permission("workflows:read")]

ONCE = [idempotent(DbSession)]  # for each Idempotency-Key


@router.get("/definitions", response_model=Page[DefinitionRead])
def list_definitions(
    reader: DefinitionReader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """The current versions, newest first."""
    return definitions.list_definitions(session, page)


@router.post("/definitions", response_model=DefinitionRead, status_code=201, dependencies=ONCE)
def create_definition(
    new: schemas.DefinitionCreate, author: DefinitionAuthor, session: DbSession
) -> dict[str, Any]:
    """Publish the first version of a definition."""
    return definitions.described(definitions.publish(session, author, new.name, new))


@router.post("/definitions/validate")
def validate_definition(new: Definition, reader: DefinitionReader) -> dict[str, bool]:
    """Whether a definition could be published; otherwise everything that is wrong with it."""
    check(new)
    return {"valid": True}


@router.get("/definitions/{name}", response_model=DefinitionRead)
def read_definition(
    name: DefinitionName, reader: DefinitionReader, session: DbSession
) -> dict[str, Any]:
    """The current version of a definition."""
    return definitions.described(definitions.find_definition(session, name))


@router.put("/definitions/{name}", response_model=DefinitionRead)
def change_definition(
    name: DefinitionName, new: Definition, author: DefinitionAuthor, session: DbSession
) -> dict[str, Any]:
    """Publish the next version; runs that are under way stay with theirs."""
    return definitions.described(definitions.change_definition(session, author, name, new))


@router.delete("/definitions/{name}", status_code=204)
def delete_definition(name: DefinitionName, author: DefinitionAuthor, session: DbSession) -> None:
    """Nobody can start it any more; runs that are under way go on."""
    definitions.delete_definition(session, name)


@router.post("/workflows", response_model=WorkflowRead, status_code=201, dependencies=[*ONCE, Hint])
def start_workflow(new: schemas.WorkflowStart, starter: Starter, session: DbSession) -> Run:
    """Start a run of a definition, with your rights."""
    return workflows.start_workflow(session, starter, new)


@router.get("/workflows", response_model=Page[WorkflowRead])
def list_workflows(reader: Reader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """The runs you started; an administrator sees everybody's."""
    return workflows.list_workflows(session, reader, page)


@router.get("/workflows/{workflow_id}", response_model=schemas.WorkflowWithSteps)
def read_workflow(workflow_id: UUID, reader: Reader, session: DbSession) -> Run:
    """A run and its steps."""
    return workflows.find_workflow(session, reader, workflow_id)


@router.get("/workflows/{workflow_id}/history", response_model=Page[EventRead])
def read_history(
    workflow_id: UUID, reader: Reader, session: DbSession, page: PageRequest
) -> dict[str, Any]:
    """Everything that happened in a run, newest first."""
    return workflows.list_history(session, reader, workflow_id, page)


@router.get("/tasks", response_model=Page[TaskRead])
def list_tasks(reader: Reader, session: DbSession, page: PageRequest) -> dict[str, Any]:
    """The tasks assigned to you, open ones first."""
    return workflows.list_tasks(session, reader, page)


@router.get("/tasks/{task_id}", response_model=TaskRead)
def read_task(task_id: UUID, reader: Reader, session: DbSession) -> Task:
    """A task assigned to you."""
    return workflows.find_task(session, reader, task_id)


@router.post("/tasks/{task_id}/complete", response_model=TaskRead, dependencies=[Hint])
def complete_task(
    task_id: UUID, decided: schemas.Decision, reader: Reader, session: DbSession
) -> Task:
    """Decide a task assigned to you, once and for all."""
    return workflows.complete_task(session, reader, task_id, decided)
