"""The tables: definitions, runs, their steps (the queue of record), tasks for people, history."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Identity, Index, String, func, text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship
from uuid_utils.compat import uuid7

from chassis.claims import PENDING
from chassis.idempotency import keys_table

from .database import Base

keys_table(Base.metadata)

Time = DateTime(timezone=True)


class DefinitionVersion(Base):
    """One published version of a definition. Its content never changes; runs stay with it."""

    __tablename__ = "workflow_definitions"
    __table_args__ = (
        Unique("name", "version"),
        Index(
            "uq_workflow_definitions_current",
            "name",
            unique=True,
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[int]
    content: Mapped[dict[str, Any]] = mapped_column(JSON)  # not JSONB: steps stay in their order
    created_by: Mapped[str | None] = mapped_column(String(64))  # None: came with the service
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    retired_at: Mapped[datetime | None] = mapped_column(Time)  # replaced by a version, or deleted


class Run(Base):
    """One execution of a definition, with the rights of the person who started it."""

    __tablename__ = "workflow_runs"
    __table_args__ = (
        Unique("started_by", "definition", "business_key"),
        Index("ix_workflow_runs_started_by", "started_by", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    definition_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_definitions.id"))
    definition: Mapped[str] = mapped_column(String(100))
    version: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    input: Mapped[dict[str, Any]] = mapped_column(JSONB)
    output: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[str | None]
    business_key: Mapped[str | None] = mapped_column(String(200))
    trace_id: Mapped[str] = mapped_column(String(64))
    started_by: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        Time, server_default=func.now(), onupdate=func.now()
    )
    finished_at: Mapped[datetime | None] = mapped_column(Time)

    published: Mapped[DefinitionVersion] = relationship(lazy="joined", innerjoin=True)
    steps: Mapped[list["Step"]] = relationship(order_by="Step.id", viewonly=True)


class Step(Base):
    """A step of a run: a row of the queue of record (chassis/claims.py) and what came of it."""

    __tablename__ = "workflow_steps"
    __table_args__ = (
        Index("ix_workflow_steps_run_id", "run_id"),
        # Waiting and finished steps are not in it, so that they slow no claim.
        Index(
            "ix_workflow_steps_due",
            "run_at",
            postgresql_where=text("status IN ('pending', 'running')"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_runs.id"))
    name: Mapped[str] = mapped_column(String(50))
    kind: Mapped[str] = mapped_column(String(50))
    input: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    output: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    polls: Mapped[int] = mapped_column(default=0)  # how often it asked to be called again
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(Time)

    status: Mapped[str] = mapped_column(String(20), default=PENDING)
    run_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    attempts: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None] = mapped_column(Time)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    last_error: Mapped[str | None]


class Task(Base):
    """What a run waits for a person to decide; it has the id of the step that asks."""

    __tablename__ = "workflow_tasks"
    __table_args__ = (
        Index("ix_workflow_tasks_assignee_id", "assignee_id", "status", "id"),
        Index("ix_workflow_tasks_workflow_id", "workflow_id"),
    )

    id: Mapped[UUID] = mapped_column(ForeignKey("workflow_steps.id"), primary_key=True)
    workflow_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_runs.id"))
    step: Mapped[str] = mapped_column(String(50))
    title: Mapped[str]
    subject: Mapped[dict[str, Any]] = mapped_column(JSONB)
    assignee_id: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(20))
    decision: Mapped[str | None] = mapped_column(String(20))
    comment: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    decided_at: Mapped[datetime | None] = mapped_column(Time)


class Event(Base):
    """One line of a run's history. A trigger in the database refuses to change or delete it."""

    __tablename__ = "workflow_history"
    __table_args__ = (Index("ix_workflow_history_run_id", "run_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_runs.id"))
    type: Mapped[str] = mapped_column(String(30))
    at: Mapped[datetime] = mapped_column(Time, server_default=func.clock_timestamp())
    step_id: Mapped[UUID | None] = mapped_column(ForeignKey("workflow_steps.id"))
    step: Mapped[str | None] = mapped_column(String(50))
    attempt: Mapped[int | None]
    actor_id: Mapped[str | None] = mapped_column(String(64))  # None: the engine
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
