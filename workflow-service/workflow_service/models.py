"""The tables: definitions, runs, their steps (the queue of record), tasks for people, history."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column, relationship
from uuid_utils.compat import uuid7

from chassis.claims import PENDING
from chassis.idempotency import keys_table

from .database import Base

keys_table(Base.metadata)

Id = Annotated[UUID, mapped_column(primary_key=True, default=uuid7)]
RunId = Annotated[UUID, mapped_column(sa.ForeignKey("workflow_runs.id"))]
Since = Annotated[datetime, mapped_column(server_default=sa.func.now())]


class DefinitionVersion(Base):
    """One published version of a definition. Its content never changes; runs stay with it."""

    __tablename__ = "workflow_definitions"
    __table_args__ = (
        sa.UniqueConstraint("name", "version"),
        sa.Index(
            "uq_workflow_definitions_current",
            "name",
            unique=True,
            postgresql_where=sa.text("retired_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    name: Mapped[str]
    version: Mapped[int]
    content: Mapped[dict[str, Any]] = mapped_column(sa.JSON)  # not JSONB: steps keep their order
    created_by: Mapped[str | None]  # None: came with the service
    created_at: Mapped[Since]
    retired_at: Mapped[datetime | None]  # replaced by a version, or deleted


class Run(Base):
    """One execution of a definition, with the rights of the person who started it."""

    __tablename__ = "workflow_runs"
    __table_args__ = (sa.Index("ix_workflow_runs_started_by", "started_by", "id"),)

    id: Mapped[Id]
    definition_id: Mapped[UUID] = mapped_column(sa.ForeignKey(DefinitionVersion.id))
    definition: Mapped[str]
    version: Mapped[int]
    status: Mapped[str]
    input: Mapped[dict[str, Any]]
    output: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    trace_id: Mapped[str]
    started_by: Mapped[str]
    created_at: Mapped[Since]
    finished_at: Mapped[datetime | None]

    published: Mapped[DefinitionVersion] = relationship(lazy="joined", innerjoin=True)
    steps: Mapped[list["Step"]] = relationship(order_by="Step.id", viewonly=True)


class Step(Base):
    """A step of a run: a row of the queue of record (chassis/claims.py) and what came of it."""

    __tablename__ = "workflow_steps"
    __table_args__ = (
        sa.Index("ix_workflow_steps_run_id", "run_id"),
        # Waiting and finished steps are not in it, so that they slow no claim.
        sa.Index(
            "ix_workflow_steps_due",
            "run_at",
            postgresql_where=sa.text("status IN ('pending', 'running')"),
        ),
    )

    id: Mapped[Id]
    run_id: Mapped[RunId]
    name: Mapped[str]
    kind: Mapped[str]
    input: Mapped[dict[str, Any] | None]
    output: Mapped[dict[str, Any] | None]
    polls: Mapped[int] = mapped_column(default=0)  # how often it asked to be called again
    created_at: Mapped[Since]
    finished_at: Mapped[datetime | None]

    status: Mapped[str] = mapped_column(default=PENDING)
    run_at: Mapped[Since]
    attempts: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    last_error: Mapped[str | None]


class Task(Base):
    """What a run waits for a person to decide; it has the id of the step that asks."""

    __tablename__ = "workflow_tasks"
    __table_args__ = (
        sa.Index("ix_workflow_tasks_assignee_id", "assignee_id", "status", "id"),
        sa.Index("ix_workflow_tasks_workflow_id", "workflow_id"),
    )

    id: Mapped[UUID] = mapped_column(sa.ForeignKey(Step.id), primary_key=True)
    workflow_id: Mapped[RunId]
    step: Mapped[str]
    title: Mapped[str]
    subject: Mapped[dict[str, Any]]
    assignee_id: Mapped[str]
    status: Mapped[str]
    decision: Mapped[str | None]
    comment: Mapped[str | None]
    created_at: Mapped[Since]
    decided_at: Mapped[datetime | None]


class Event(Base):
    """One line of a run's history. A trigger in the database refuses to change or delete it."""

    __tablename__ = "workflow_history"
    __table_args__ = (sa.Index("ix_workflow_history_run_id", "run_id", "id"),)

    id: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(always=True), primary_key=True)
    run_id: Mapped[RunId]
    type: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=sa.func.clock_timestamp())
    step_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey(Step.id))
    step: Mapped[str | None]
    attempt: Mapped[int | None]
    actor_id: Mapped[str | None]  # None: the engine
    data: Mapped[dict[str, Any]]
