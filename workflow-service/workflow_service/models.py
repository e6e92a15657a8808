"""The tables: definitions, runs, steps (the job queue), tasks, calls to models, history."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship
from uuid_utils.compat import uuid7

from chassis.idempotency import define_keys_table
from chassis.job_queue import QueuedJobMixin

from .database import Base
from .definition.paths import StepPath

define_keys_table(Base.metadata)

# Whose step it is: one that the definition names, the engine's own that undoes such a step, or the
# engine's own that notifies people. Expressions, outputs and lists see work only.
WORK = "work"
COMPENSATION = "compensation"
NOTICE = "notice"

PrimaryKey = Annotated[UUID, mapped_column(primary_key=True, default=uuid7)]
RunReference = Annotated[UUID, mapped_column(sa.ForeignKey("workflow_runs.id"))]
CreatedAt = Annotated[datetime, mapped_column(server_default=sa.func.now())]


NOT_BREACHED = "due_at IS NOT NULL AND breached_at IS NULL AND finished_at IS NULL"
BUSINESS_KEY = ("started_by", "definition", "business_key")
UNDER_WAY_OR_COMPLETED = "business_key IS NOT NULL AND status NOT IN ('failed', 'cancelled')"


def index_where(where: str, name: str, *columns: str, unique: bool = False) -> sa.Index:
    return sa.Index(name, *columns, unique=unique, postgresql_where=sa.text(where))


class DefinitionVersion(Base):
    """Stores one published version of a definition, which never changes; runs stay with it."""

    __tablename__ = "workflow_definitions"
    __table_args__ = (
        sa.UniqueConstraint("name", "version"),
        index_where("retired_at IS NULL", "uq_workflow_definitions_current", "name", unique=True),
    )

    id: Mapped[PrimaryKey]
    name: Mapped[str]
    version: Mapped[int]
    content: Mapped[dict[str, Any]] = mapped_column(sa.JSON)  # not JSONB: steps keep their order
    created_by: Mapped[str | None]  # None: came with the service
    created_at: Mapped[CreatedAt]
    retired_at: Mapped[datetime | None]  # replaced by a version, or deleted


class Run(Base):
    """Stores one execution of a definition, with the rights of the user who started it."""

    __tablename__ = "workflow_runs"
    __table_args__ = (
        sa.Index("ix_workflow_runs_started_by", "started_by", "id"),
        # A business key has one run that is under way or completed; a failed one may be followed.
        index_where(
            UNDER_WAY_OR_COMPLETED, "uq_workflow_runs_business_key", *BUSINESS_KEY, unique=True
        ),
        sa.Index("ix_workflow_runs_retry_of", "retry_of"),
        sa.Index("ix_workflow_runs_root_id", "root_id"),
        sa.Index("ix_workflow_runs_parent_id", "parent_id"),
        sa.Index("ix_workflow_runs_created_at", "created_at"),
        index_where(NOT_BREACHED, "ix_workflow_runs_due_at", "due_at"),
    )

    id: Mapped[PrimaryKey]
    definition_id: Mapped[UUID] = mapped_column(sa.ForeignKey(DefinitionVersion.id))
    definition: Mapped[str]
    version: Mapped[int]
    status: Mapped[str]
    ends_as: Mapped[str | None]  # while it compensates: failed or cancelled
    input: Mapped[dict[str, Any]]
    output: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    trace_id: Mapped[str]
    started_by: Mapped[str]
    business_key: Mapped[str | None]
    retry_of: Mapped[UUID | None] = mapped_column(sa.ForeignKey("workflow_runs.id"))
    parent_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("workflow_steps.id"))
    root_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("workflow_runs.id"))
    depth: Mapped[int] = mapped_column(default=0)  # below the run that a user started
    size: Mapped[int] = mapped_column(default=0)  # steps so far
    budget_usd: Mapped[float | None] = mapped_column(sa.Double)
    due_at: Mapped[datetime | None]  # as the definition's sla says
    breached_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None]

    published: Mapped[DefinitionVersion] = relationship()
    steps: Mapped[list["Step"]] = relationship(
        order_by="Step.id", viewonly=True, foreign_keys="Step.run_id"
    )


class Step(QueuedJobMixin, Base):
    """Stores a step of a run: a row of the job queue (chassis/job_queue.py), and its result."""

    __tablename__ = "workflow_steps"
    __table_args__ = (
        sa.UniqueConstraint("run_id", "scope", "name", "role", name="uq_workflow_steps_place"),
        # Waiting and finished steps are left out, so that they do not slow down a claim.
        index_where("status IN ('pending', 'running')", "ix_workflow_steps_due", "run_at"),
        index_where(
            "status = 'waiting' AND run_at < '9999-12-31+00'", "ix_workflow_steps_wake", "run_at"
        ),
        index_where(NOT_BREACHED, "ix_workflow_steps_due_at", "due_at"),
    )

    id: Mapped[PrimaryKey]
    run_id: Mapped[RunReference]
    scope: Mapped[str] = mapped_column(default="")  # the branch: see definition/paths.py
    name: Mapped[str]
    role: Mapped[str] = mapped_column(default=WORK, server_default=WORK)
    kind: Mapped[str]
    key: Mapped[UUID] = mapped_column(default=uuid7)  # idempotency key of all its attempts
    item: Mapped[dict[str, Any] | None]  # in an iteration of a foreach: {"item": ..., "index": ...}
    input: Mapped[dict[str, Any] | None]
    output: Mapped[dict[str, Any] | None]
    memory: Mapped[dict[str, Any]] = mapped_column(default=dict)  # a StepMemory of its step type
    due_at: Mapped[datetime | None]  # as the definition's sla says
    breached_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    finished_at: Mapped[datetime | None]

    @property
    def position(self) -> StepPath:
        return StepPath(self.scope, self.name)

    @property
    def path(self) -> str:
        return str(self.position)


class Task(Base):
    """Stores what one assignee has to decide; a step has one for each assignee."""

    __tablename__ = "workflow_tasks"
    __table_args__ = (
        sa.Index("ix_workflow_tasks_assignee_id", "assignee_id", "status", "created_at", "id"),
        sa.Index("ix_workflow_tasks_role", "role", "status", "created_at", "id"),
        sa.Index("ix_workflow_tasks_workflow_id", "workflow_id"),
        sa.Index("ix_workflow_tasks_step_id", "step_id"),
    )

    id: Mapped[PrimaryKey]
    step_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Step.id))
    workflow_id: Mapped[RunReference]
    step: Mapped[str]
    purpose: Mapped[str]
    title: Mapped[str]
    subject: Mapped[dict[str, Any]]
    seen: Mapped[dict[str, Any]]  # the document, in the version that is decided on
    subject_hash: Mapped[str]
    assignee_id: Mapped[str | None]
    role: Mapped[str | None]
    not_by: Mapped[str | None]
    needed: Mapped[int]
    status: Mapped[str]
    reason: Mapped[str | None]  # why it was closed without a decision
    decision: Mapped[str | None]
    decided_by: Mapped[str | None]
    comment: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    decided_at: Mapped[datetime | None]


class AiCall(Base):
    """Stores one call to a model with its cost, also when it failed."""

    __tablename__ = "workflow_ai_calls"
    __table_args__ = (
        sa.Index("ix_workflow_ai_calls_run_id", "run_id"),
        sa.Index("ix_workflow_ai_calls_created_at", "created_at"),
    )

    id: Mapped[PrimaryKey]
    run_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey(Run.id))
    step_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey(Step.id))
    user_id: Mapped[str]
    provider: Mapped[str]
    model: Mapped[str]
    outcome: Mapped[str]
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    cost_usd: Mapped[float] = mapped_column(sa.Double)
    seconds: Mapped[float] = mapped_column(sa.Double)
    created_at: Mapped[CreatedAt]


class Event(Base):
    """Stores one event of a run's history. A trigger in the database refuses to change it."""

    __tablename__ = "workflow_history"
    __table_args__ = (sa.Index("ix_workflow_history_run_id", "run_id", "id"),)

    # In the order of the commits, since the run's row is locked meanwhile.
    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    run_id: Mapped[RunReference]
    type: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    step_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey(Step.id))
    step: Mapped[str | None]
    attempt: Mapped[int | None]
    actor_id: Mapped[str | None]  # None: the engine
    data: Mapped[dict[str, Any]]
