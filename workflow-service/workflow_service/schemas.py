"""The bodies of requests and responses: definitions, AI answers, workflows and tasks."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from chassis.event_stream import NoData, StreamedEvent
from chassis.schemas import JsonObject, RequestModel, ResponseModel, Text

from .definition.model import Definition, StepName

DefinitionName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=100)]
Role = Literal["work", "compensation", "notice"]
SlaState = Literal["in_time", "at_risk", "breached"]
TaskStatus = Literal["open", "completed", "closed"]


READ_ONLY = "Read only: ignored in a request."


class DefinitionUpdate(Definition):
    """Takes what a GET returned, too. What the service sets is ignored."""

    name: DefinitionName | None = Field(
        default=None, description="If the path has a name, it must be this one."
    )
    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description=READ_ONLY)
    created_by: Text | None = Field(default=None, description=READ_ONLY)
    created_at: datetime | None = Field(default=None, description=READ_ONLY)


class DefinitionCreate(DefinitionUpdate):
    """Takes what a GET returned, too, under another name."""

    name: DefinitionName


class DefinitionRead(Definition):
    model_config = ConfigDict(extra="ignore")
    name: DefinitionName
    version: int
    created_by: str | None = Field(description="Null for a definition that came with the service.")
    created_at: datetime


class ModelUsage(ResponseModel):
    """Adds up the calls to models that an answer took."""

    input_tokens: int
    output_tokens: int
    cost_usd: float


class TotalModelUsage(ModelUsage):
    """Adds up the calls to models of a run, or of many."""

    calls: int


class AiResponse(ResponseModel):
    """Says what every answer of a model says beside its content."""

    provider: str = Field(
        description="openai, anthropic, or offline for an answer that was made without a model."
    )
    model: str
    usage: ModelUsage


class TextSummary(AiResponse):
    summary: str


class TextSuggestion(AiResponse):
    title: str
    tags: list[str]


class TextAnalysis(AiResponse):
    topics: list[str]
    key_points: list[str]
    figures: list[str] = Field(description="Statements that contain a number.")
    questions: list[str]


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
    usage: TotalModelUsage


class HistoryEventRead(ResponseModel):
    id: int
    type: str
    at: datetime
    step: str | None
    step_id: UUID | None
    attempt: int | None
    actor_id: str | None = Field(description="Null when the engine itself acted.")
    data: dict[str, Any]


class HistoryEventAdded(StreamedEvent):
    """Brings the next event of a run's history."""

    event: str = Field(description="The `type` of the event.")
    data: HistoryEventRead


class HistoryEnded(StreamedEvent):
    """Comes last: the run has ended."""

    event: Literal["end"] = "end"
    data: NoData = NoData()


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
    usage: TotalModelUsage


class SlaRead(ResponseModel):
    id: UUID
    definition: str
    status: str
    due_at: datetime | None = Field(description="Null when only a step of the run has an SLA.")
    finished_at: datetime | None
    state: SlaState
    late_steps: list[str] = Field(description="The unfinished steps that have exceeded their SLA.")


class TaskRead(ResponseModel):
    id: UUID
    created_at: datetime
    workflow_id: UUID
    step: str
    purpose: Literal["approval", "budget"]
    title: str
    subject: dict[str, Any]
    seen: dict[str, Any] = Field(
        description="The document, in the version that the decision is about."
    )
    subject_hash: str = Field(
        description="A hash of everything the decision is about. Send it with the decision."
    )
    status: TaskStatus
    assignee_id: str | None
    role: str | None = Field(description="Any user with this role may decide.")
    needed: int = Field(description="The number of approvals that the step needs.")
    decision: str | None
    decided_by: str | None
    comment: str | None
    reason: str | None = Field(description="Why the task was closed without a decision.")
    decided_at: datetime | None


class TaskDecision(RequestModel):
    decision: Literal["approve", "reject"]
    comment: Text = Field(default="", max_length=5000)
    subject_hash: Text | None = Field(
        default=None,
        max_length=64,
        description="The hash from the task as you read it. The answer is 409 if the task has"
        " changed since.",
    )
