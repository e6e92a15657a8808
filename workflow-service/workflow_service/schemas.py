"""The bodies of requests and responses: definitions, AI answers, workflows and tasks."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from chassis.schemas import JsonObject, RequestModel, ResponseModel, Text, example

from .definition.model import Definition, StepName

DefinitionName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=100, description="The definition's name.")
]
Role = Literal["work", "compensation", "notice"]
SlaState = Literal["in_time", "at_risk", "breached"]
TaskStatus = Literal["open", "completed", "closed"]
RunStatus = Literal[
    "running", "waiting", "paused", "compensating", "completed", "failed", "cancelled"
]

READ_ONLY = "Read only: ignored in a request."
EXAMPLE_DEFINITION = {
    "title": "Publication",
    "input": {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
    },
    "start": "ask",
    "steps": {
        "ask": {
            "kind": "approval",
            "with": {"role": "'editor'", "title": "'Publish ' + input.title + '?'"},
        }
    },
    "output": {"decision": "steps.ask.decision"},
}


class DefinitionUpdate(Definition):
    """Takes what a GET returned, too. What the service sets is ignored."""

    model_config = example(**EXAMPLE_DEFINITION)

    name: DefinitionName | None = Field(
        default=None, description="If the path has a name, it must be this one."
    )
    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description=READ_ONLY)
    created_by: Text | None = Field(default=None, description=READ_ONLY)
    created_at: datetime | None = Field(default=None, description=READ_ONLY)


class DefinitionCreate(DefinitionUpdate):
    """Takes what a GET returned, too, under another name."""

    model_config = example(name="publication", **EXAMPLE_DEFINITION)

    name: DefinitionName


class DefinitionRead(Definition):
    model_config = ConfigDict(extra="ignore")
    name: DefinitionName
    version: int = Field(description="Counts from 1; each change publishes the next one.")
    created_by: str | None = Field(description="Null for a definition that came with the service.")
    created_at: datetime


class DefinitionValidity(ResponseModel):
    """Says that a definition could be published; one that could not is a 422."""

    valid: Literal[True] = True


class ModelUsage(ResponseModel):
    """Adds up the calls to models that an answer took."""

    input_tokens: int
    output_tokens: int
    cost_usd: float = Field(description="In US dollars.")


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
    model_config = example(
        definition="publication", input={"title": "Minutes"}, business_key="minutes-2026-11"
    )

    definition: DefinitionName
    input: JsonObject = Field(default={}, description="As the definition's `input` says.")
    business_key: Text | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Your own key for the run. Starting the same definition again with the same key"
        " returns the existing run.",
    )


class WorkflowRetry(RequestModel):
    model_config = example(version="latest")

    version: Literal["pinned", "latest"] = Field(
        default="pinned",
        description="`pinned` keeps the version of the definition that the run started with.",
    )


class WorkflowRerun(WorkflowRetry):
    model_config = example(from_step="ask")

    from_step: StepName | None = Field(
        default=None,
        description="The first step to repeat, which must not be inside a branch or an iteration;"
        " null is the start.",
    )


class WorkflowRead(ResponseModel):
    """Describes a run of a definition."""

    id: UUID
    created_at: datetime
    definition: str
    version: int = Field(description="The version of the definition, which never changes.")
    status: RunStatus
    input: dict[str, Any]
    output: dict[str, Any] | None = Field(description="Null until the run is completed.")
    error: str | None = Field(description="Why the run failed.")
    trace_id: str = Field(description="Finds what the run did in the logs of every service.")
    started_by: str = Field(description="The id of the user whose rights the run has.")
    business_key: str | None
    retry_of: UUID | None = Field(description="The run that this one retries or repeats.")
    due_at: datetime | None = Field(description="When the run exceeds its SLA.")
    breached_at: datetime | None = Field(description="When it was found to exceed its SLA.")
    finished_at: datetime | None


class StepRead(ResponseModel):
    """Describes one step of a run."""

    id: UUID
    created_at: datetime
    name: str
    path: str = Field(
        description="The name, preceded by the branches and iterations around the step:"
        " each.3/both.left/name."
    )
    role: Role
    kind: str
    status: Literal["pending", "running", "waiting", "held", "done", "failed", "cancelled"] = Field(
        description="`held`: due as soon as its run is resumed."
    )
    attempts: int
    error: str | None = Field(
        validation_alias="last_error", description="Why the last attempt failed."
    )
    run_at: datetime = Field(description="When the next attempt is due, or was last due.")
    finished_at: datetime | None


class StepDetail(StepRead):
    input: dict[str, Any] | None = Field(description="The values of `with`; null until it starts.")
    output: dict[str, Any] | None


class WorkflowWithSteps(WorkflowRead):
    steps: list[StepRead] = Field(description="The newest 1,000 steps, oldest first.")
    usage: TotalModelUsage


class HistoryEventRead(ResponseModel):
    """Describes one thing that happened in a run."""

    id: int = Field(description="The position in the history; later events have higher ones.")
    type: str = Field(description="Such as `step.retrying` or `run.completed`.")
    at: datetime
    step: str | None = Field(description="The path of the step; null for the run as a whole.")
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
    breached: int = Field(description="How many exceeded their SLA.")
    median_seconds: float | None
    p95_seconds: float | None


class WorkflowStats(ResponseModel):
    by_status: dict[RunStatus, int] = Field(description="How many runs have each status.")
    by_definition: list[DefinitionStats] = Field(description="The first 1,000 by name.")
    open_tasks: int = Field(description="How many tasks of these runs wait for a decision.")
    usage: TotalModelUsage


class SlaRead(ResponseModel):
    """Compares the time of a run with its SLA."""

    id: UUID = Field(description="The id of the run.")
    definition: str
    status: RunStatus
    due_at: datetime | None = Field(description="Null when only a step of the run has an SLA.")
    finished_at: datetime | None
    state: SlaState = Field(description="`at_risk` once 80 % of the time have passed.")
    late_steps: list[str] = Field(description="The unfinished steps that have exceeded their SLA.")


class TaskRead(ResponseModel):
    """Describes a decision that a run waits for."""

    id: UUID
    created_at: datetime
    workflow_id: UUID = Field(description="The id of the run.")
    step: str = Field(description="The path of the step that asks.")
    purpose: Literal["approval", "budget"] = Field(
        description="`budget`: whether the run may cost as much again."
    )
    title: str
    subject: dict[str, Any] = Field(description="What the decision is about, as the step says.")
    seen: dict[str, Any] = Field(
        description="The document, in the version that the decision is about."
    )
    subject_hash: str = Field(
        description="A hash of everything the decision is about. Send it with the decision."
    )
    status: TaskStatus = Field(description="`closed`: no longer needed; `reason` says why.")
    assignee_id: str | None = Field(description="The user who decides; null if a role does.")
    role: str | None = Field(description="Any user with this role may decide.")
    needed: int = Field(description="The number of approvals that the step needs.")
    decision: Literal["approve", "reject"] | None
    decided_by: str | None = Field(description="The id of the user who decided.")
    comment: str | None
    reason: str | None = Field(description="Why the task was closed without a decision.")
    decided_at: datetime | None


class TaskDecision(RequestModel):
    model_config = example(decision="approve", comment="Well written.")

    decision: Literal["approve", "reject"]
    comment: Text = Field(default="", max_length=5000)
    subject_hash: Text | None = Field(
        default=None,
        max_length=64,
        description="The hash from the task as you read it. The answer is 409 if the task has"
        " changed since.",
    )
