"""What goes in and out over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from chassis.schemas import STRICT, JsonObject, Text

from .engine.definition import Definition

DefinitionName = Annotated[Text, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=100)]


class DefinitionCreate(Definition):
    name: DefinitionName


class DefinitionRead(DefinitionCreate):
    model_config = ConfigDict(extra="ignore")

    version: int
    created_by: str | None = Field(description="Null for a definition that came with the service.")
    created_at: datetime


class Read(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Verdict(BaseModel):
    valid: Literal[True] = True


class WorkflowStart(BaseModel):
    """A business key of yours (an order's number, say) starts a definition only once."""

    model_config = STRICT

    definition: DefinitionName
    input: JsonObject = {}
    business_key: Text | None = Field(default=None, min_length=1, max_length=200)


class WorkflowRead(Read):
    id: UUID
    definition: str
    version: int
    status: Literal["running", "waiting", "completed", "failed", "cancelled"]
    input: dict[str, Any]
    output: dict[str, Any] | None
    error: str | None
    business_key: str | None
    trace_id: str
    started_by: str
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class StepRead(Read):
    id: UUID
    name: str
    kind: str
    status: Literal["pending", "running", "waiting", "done", "dead", "cancelled"]
    attempts: int
    error: str | None = Field(validation_alias="last_error")
    run_at: datetime
    created_at: datetime
    finished_at: datetime | None


class WorkflowWithSteps(WorkflowRead):
    steps: list[StepRead]


class EventRead(Read):
    id: int
    type: str
    at: datetime
    step: str | None
    step_id: UUID | None
    attempt: int | None
    actor_id: str | None = Field(description="Null for the engine.")
    data: dict[str, Any]


class TaskRead(Read):
    id: UUID
    workflow_id: UUID
    step: str
    title: str
    subject: dict[str, Any]
    status: Literal["open", "completed", "cancelled"]
    assignee_id: str
    decision: str | None
    comment: str | None
    created_at: datetime
    decided_at: datetime | None


class Decision(BaseModel):
    model_config = STRICT

    decision: Literal["approve", "reject"]
    comment: Text = Field(default="", max_length=5000)
