"""Bodies of /tasks."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from chassis.schemas import RequestModel, ResponseModel, Text


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
    status: Literal["open", "completed", "closed"]
    assignee_id: str | None
    role: str | None = Field(description="Any user with this role may decide.")
    needed: int = Field(description="The number of approvals that the step needs.")
    decision: str | None
    decided_by: str | None
    comment: str | None
    reason: str | None = Field(description="Why the task was closed without a decision.")
    decided_at: datetime | None


class Decision(RequestModel):
    decision: Literal["approve", "reject"]
    comment: Text = Field(default="", max_length=5000)
    subject_hash: Text | None = Field(
        default=None,
        max_length=64,
        description="The hash from the task as you read it. The answer is 409 if the task has"
        " changed since.",
    )
