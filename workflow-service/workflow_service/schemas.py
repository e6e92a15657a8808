"""What goes in and out over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from chassis.schemas import JsonObject, Text

from .definition.model import Definition, StepName, Strict

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
    business_key: Text | None = Field(
        default=None, min_length=1, max_length=200,
        description="The same key again, for the same definition, gives the run that there is.",
    )  # fmt: skip


class Retry(Strict):
    version: Literal["pinned", "latest"] = "pinned"


class Rerun(Retry):
    from_step: StepName | None = Field(default=None, description="Of the main lane.")


class BaseRead(BaseModel):
    """What runs, steps and tasks show alike."""

    id: UUID
    created_at: datetime


class WorkflowRead(BaseRead):
    definition: str
    version: int
    status: Literal[
        "running", "waiting", "paused", "compensating", "completed", "failed", "cancelled"
    ]
    input: dict[str, Any]
    output: dict[str, Any] | None
    error: str | None
    trace_id: str
    started_by: str
    business_key: str | None
    retry_of: UUID | None
    due_at: datetime | None
    breached_at: datetime | None
    finished_at: datetime | None


class StepRead(BaseRead):
    name: str
    path: str = Field(description="The name, after the lanes it is in: each.3/both.left/name.")
    kind: str
    status: Literal["pending", "running", "waiting", "held", "done", "dead", "cancelled"]
    attempts: int
    error: str | None = Field(validation_alias="last_error")
    run_at: datetime
    finished_at: datetime | None


class Usage(BaseModel):
    """What models were asked for."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float


class WorkflowWithSteps(WorkflowRead):
    steps: list[StepRead] = Field(description="The newest thousand, in their order.")
    usage: Usage


class StepDetail(StepRead):
    input: dict[str, Any] | None
    output: dict[str, Any] | None


class EventRead(BaseModel):
    id: int
    type: str
    at: datetime
    step: str | None
    step_id: UUID | None
    attempt: int | None
    actor_id: str | None = Field(description="Null for the engine.")
    data: dict[str, Any]


class TaskRead(BaseRead):
    workflow_id: UUID
    step: str
    purpose: Literal["approval", "budget"]
    title: str
    subject: dict[str, Any]
    seen: dict[str, Any] = Field(description="The document in the version that is decided on.")
    subject_hash: str = Field(description="Of all that is decided on; send it with the decision.")
    status: Literal["open", "completed", "closed"]
    assignee_id: str | None
    role: str | None = Field(description="Anybody with it may decide.")
    needed: int = Field(description="So many approvals of those who are asked.")
    decision: str | None
    decided_by: str | None
    comment: str | None
    reason: str | None = Field(description="Why it was closed without a decision.")
    decided_at: datetime | None


class Decision(Strict):
    decision: Literal["approve", "reject"]
    comment: Text = Field(default="", max_length=5000)
    subject_hash: Text | None = Field(
        default=None, max_length=64,
        description="Of the task as you read it: 409 when it is not what is asked now.",
    )  # fmt: skip


class DefinitionStats(BaseModel):
    """Seconds are those that completed runs took."""

    definition: str
    runs: int
    completed: int
    failed: int
    cancelled: int
    breached: int
    median_seconds: float | None
    p95_seconds: float | None


class Stats(BaseModel):
    by_status: dict[str, int]
    by_definition: list[DefinitionStats]
    open_tasks: int
    usage: Usage


class SlaRead(BaseModel):
    id: UUID
    definition: str
    status: str
    due_at: datetime | None = Field(description="Null when only a step of it has a time.")
    finished_at: datetime | None
    state: Literal["in_time", "at_risk", "breached"]
    late_steps: list[str] = Field(description="Open ones that are over their own time.")
