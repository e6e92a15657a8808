"""What goes in and out over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from chassis.schemas import JsonObject, Text

from .engine.definition import Definition, Strict

DefinitionName = Annotated[Text, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=100)]


class DefinitionCreate(Definition):
    name: DefinitionName


class DefinitionRead(DefinitionCreate):
    model_config = ConfigDict(extra="ignore")

    version: int
    created_by: str | None = Field(description="Null for a definition that came with the service.")
    created_at: datetime


class WorkflowStart(Strict):
    definition: DefinitionName
    input: JsonObject = Field(default={})


class Read(BaseModel):
    """What runs, steps and tasks show alike."""

    id: UUID
    created_at: datetime


class WorkflowRead(Read):
    definition: str
    version: int
    status: Literal["running", "waiting", "completed", "failed"]
    input: dict[str, Any]
    output: dict[str, Any] | None
    error: str | None
    trace_id: str
    started_by: str
    finished_at: datetime | None


class StepRead(Read):
    name: str
    kind: str
    status: Literal["pending", "running", "waiting", "done", "dead"]
    attempts: int
    error: str | None = Field(validation_alias="last_error")
    run_at: datetime
    finished_at: datetime | None


class WorkflowWithSteps(WorkflowRead):
    steps: list[StepRead]


class EventRead(BaseModel):
    id: int
    type: str
    at: datetime
    step: str | None
    step_id: UUID | None
    attempt: int | None
    actor_id: str | None = Field(description="Null for the engine.")
    data: dict[str, Any]


class TaskRead(Read):
    workflow_id: UUID
    step: str
    title: str
    subject: dict[str, Any]
    status: Literal["open", "completed"]
    assignee_id: str
    decision: str | None
    comment: str | None
    decided_at: datetime | None


class Decision(Strict):
    decision: Literal["approve", "reject"]
    comment: Text = Field(default="", max_length=5000)
