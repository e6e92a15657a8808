"""Create definitions, runs, steps, tasks and history, and publish the built-in definitions."""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB
from uuid_utils.compat import uuid7

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BUILTIN = Path(__file__).resolve().parents[2] / "workflow_service" / "builtin"

REFUSE_CHANGE = """
CREATE FUNCTION workflow_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$
"""

HISTORY_IS_APPEND_ONLY = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON workflow_history
FOR EACH ROW EXECUTE FUNCTION workflow_refuse_change()
"""

VERSIONS_ARE_IMMUTABLE = """
CREATE TRIGGER immutable BEFORE UPDATE OF name, version, content OR DELETE ON workflow_definitions
FOR EACH ROW EXECUTE FUNCTION workflow_refuse_change()
"""


def key() -> sa.Column[Any]:
    return sa.Column("id", sa.Uuid, primary_key=True)


def time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    default = None if nullable else sa.func.now()
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def reference(name: str, target: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Uuid, sa.ForeignKey(target), nullable=nullable)


def upgrade() -> None:
    definitions()
    runs()
    steps()
    tasks()
    history()
    idempotency_keys()
    publish_document_review()


def definitions() -> None:
    op.create_table(
        "workflow_definitions",
        key(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("created_by", sa.Text),
        time("created_at"),
        time("retired_at", nullable=True),
        sa.UniqueConstraint("name", "version"),
    )
    op.create_index(
        "uq_workflow_definitions_current",
        "workflow_definitions",
        ["name"],
        unique=True,
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.execute(REFUSE_CHANGE)
    op.execute(VERSIONS_ARE_IMMUTABLE)


def runs() -> None:
    op.create_table(
        "workflow_runs",
        key(),
        reference("definition_id", "workflow_definitions.id"),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("input", JSONB, nullable=False),
        sa.Column("output", JSONB),
        sa.Column("error", sa.Text),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("started_by", sa.Text, nullable=False),
        time("created_at"),
        time("finished_at", nullable=True),
    )
    op.create_index("ix_workflow_runs_started_by", "workflow_runs", ["started_by", "id"])


def steps() -> None:
    op.create_table(
        "workflow_steps",
        key(),
        reference("run_id", "workflow_runs.id"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("input", JSONB),
        sa.Column("output", JSONB),
        sa.Column("polls", sa.Integer, nullable=False),
        time("created_at"),
        time("finished_at", nullable=True),
        sa.Column("status", sa.Text, nullable=False),
        time("run_at"),
        sa.Column("attempts", sa.Integer, nullable=False),
        time("lease_until", nullable=True),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
    )
    op.create_index("ix_workflow_steps_run_id", "workflow_steps", ["run_id"])
    op.create_index(
        "ix_workflow_steps_due",
        "workflow_steps",
        ["run_at"],
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )


def tasks() -> None:
    op.create_table(
        "workflow_tasks",
        sa.Column("id", sa.Uuid, sa.ForeignKey("workflow_steps.id"), primary_key=True),
        reference("workflow_id", "workflow_runs.id"),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("subject", JSONB, nullable=False),
        sa.Column("assignee_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("comment", sa.Text),
        time("created_at"),
        time("decided_at", nullable=True),
    )
    op.create_index(
        "ix_workflow_tasks_assignee_id", "workflow_tasks", ["assignee_id", "status", "id"]
    )
    op.create_index("ix_workflow_tasks_workflow_id", "workflow_tasks", ["workflow_id"])


def history() -> None:
    op.create_table(
        "workflow_history",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        reference("run_id", "workflow_runs.id"),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.clock_timestamp(),
        ),
        reference("step_id", "workflow_steps.id", nullable=True),
        sa.Column("step", sa.Text),
        sa.Column("attempt", sa.Integer),
        sa.Column("actor_id", sa.Text),
        sa.Column("data", JSONB, nullable=False),
    )
    op.create_index("ix_workflow_history_run_id", "workflow_history", ["run_id", "id"])
    op.execute(HISTORY_IS_APPEND_ONLY)


def idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("headers", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        time("created_at"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def publish_document_review() -> None:
    """Publish document-review, which comes with the service."""
    content = json.loads((BUILTIN / "document-review.json").read_text())
    table = sa.table(
        "workflow_definitions",
        *(sa.column(name) for name in ("id", "name", "version")),
        sa.column("content", sa.JSON),
    )
    row = {"id": uuid7(), "name": "document-review", "version": 1, "content": content}
    op.execute(sa.insert(table).values(row))


def downgrade() -> None:
    for table in ("history", "tasks", "steps", "runs", "definitions"):
        op.drop_table(f"workflow_{table}")
    op.drop_table("idempotency_keys")
    op.execute("DROP FUNCTION workflow_refuse_change()")
