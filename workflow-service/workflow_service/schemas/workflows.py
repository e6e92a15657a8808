"""Bodies of /workflows: runs, their steps, their history and their numbers."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import JsonObject, RequestModel, ResponseModel, Text

from ..definition.model import StepName
from .ai import UsageTotal
from .definitions import DefinitionName


class WorkflowStart(RequestModel):
    definition: DefinitionName
    input: JsonObject = Field(default={})
    business_key: Text | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Your own key for the run. Starting the same definition again with the same key"
        " returns the existing run.",
    )


class WorkflowRetry(RequestModel):
    version: Literal["pinned", "latest"] = Field(
        default="pinned",
        description="`pinned` keeps the version of the definition that the run started with.",
    )


class WorkflowRerun(WorkflowRetry):
    from_step: StepName | None = Field(
        default=None,
        description="The first step to repeat; it must not be inside a branch or an iteration.",
    )


class WorkflowRead(ResponseModel):
    id: UUID
    created_at: datetime
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


Role = Literal["work", "compensation", "notice"]


class StepRead(ResponseModel):
    id: UUID
    created_at: datetime
    name: str
    path: str = Field(
        description="The name, preceded by the branches and iterations around the step:"
        " each.3/both.left/name."
    )
    role: Role
    kind: str
    status: Literal["pending", "running", "waiting", "held", "done", "failed", "cancelled"]
    attempts: int
    error: str | None = Field(validation_alias="last_error")
    run_at: datetime
    finished_at: datetime | None


class StepDetail(StepRead):
    input: dict[str, Any] | None
    output: dict[str, Any] | None


class WorkflowWithSteps(WorkflowRead):
    steps: list[StepRead] = Field(description="The newest 1,000 steps, oldest first.")
    usage: UsageTotal


class EventRead(ResponseModel):
    id: int
    type: str
    at: datetime
    step: str | None
    step_id: UUID | None
    attempt: int | None
    actor_id: str | None = Field(description="Null when the engine itself acted.")
    data: dict[str, Any]


class DefinitionStats(ResponseModel):
    """Counts the runs of one definition. The durations are those of completed runs."""

    definition: str
    runs: int
    completed: int
    failed: int
    cancelled: int
    breached: int
    median_seconds: float | None
    p95_seconds: float | None


class WorkflowStats(ResponseModel):
    by_status: dict[str, int]
    by_definition: list[DefinitionStats]
    open_tasks: int
    usage: UsageTotal


SlaState = Literal["in_time", "at_risk", "breached"]


class SlaRead(ResponseModel):
    id: UUID
    definition: str
    status: str
    due_at: datetime | None = Field(description="Null when only a step of the run has an SLA.")
    finished_at: datetime | None
    state: SlaState
    late_steps: list[str] = Field(description="The unfinished steps that have exceeded their SLA.")
