"""Add branches, timers, compensation, retried runs, approval rules and calls to models."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EMPTY = sa.text("'{}'")
FOREVER = "9999-12-31+00"


def upgrade() -> None:
    runs()
    steps()
    tasks()
    ai_calls()


def runs() -> None:
    table = "workflow_runs"
    for name in ("business_key", "ends_as"):
        op.add_column(table, sa.Column(name, sa.Text))
    references = (("retry_of", table), ("root_id", table), ("parent_id", "workflow_steps"))
    for name, target in references:
        op.add_column(table, sa.Column(name, sa.Uuid, sa.ForeignKey(f"{target}.id")))
        op.create_index(f"ix_{table}_{name}", table, [name])
    for name in ("depth", "size"):
        op.add_column(table, sa.Column(name, sa.Integer, nullable=False, server_default="0"))
        op.alter_column(table, name, server_default=None)
    op.add_column(table, sa.Column("budget_usd", sa.Double))
    due(table)
    op.create_index(f"ix_{table}_created_at", table, ["created_at"])
    op.create_index(
        f"uq_{table}_business_key",
        table,
        ["started_by", "definition", "business_key"],
        unique=True,
        postgresql_where=sa.text(
            "business_key IS NOT NULL AND status NOT IN ('failed', 'cancelled')"
        ),
    )


def due(table: str) -> None:
    for name in ("due_at", "breached_at"):
        op.add_column(table, sa.Column(name, sa.DateTime(timezone=True)))
    there = sa.text("due_at IS NOT NULL AND breached_at IS NULL AND finished_at IS NULL")
    op.create_index(f"ix_{table}_due_at", table, ["due_at"], postgresql_where=there)


def steps() -> None:
    table = "workflow_steps"
    op.add_column(table, sa.Column("scope", sa.Text, nullable=False, server_default=""))
    op.add_column(table, sa.Column("memory", JSONB, nullable=False, server_default=EMPTY))
    for name in ("scope", "memory"):
        op.alter_column(table, name, server_default=None)
    op.add_column(table, sa.Column("item", JSONB))
    op.add_column(table, sa.Column("key", sa.Uuid))
    # So far, steps used their ids as idempotency keys. A step that waits for people is never due.
    op.execute(f"UPDATE {table} SET key = id, memory = jsonb_build_object('polls', polls)")
    op.execute(f"UPDATE {table} SET run_at = '{FOREVER}' WHERE status = 'waiting'")
    op.alter_column(table, "key", nullable=False)
    op.drop_column(table, "polls")
    due(table)
    op.create_unique_constraint(f"uq_{table}_place", table, ["run_id", "scope", "name"])
    op.drop_index(f"ix_{table}_run_id")
    op.create_index(
        f"ix_{table}_wake",
        table,
        ["run_at"],
        postgresql_where=sa.text(f"status = 'waiting' AND run_at < '{FOREVER}'"),
    )


def tasks() -> None:
    """Give tasks ids of their own, because a step can ask several people."""
    table = "workflow_tasks"
    op.drop_constraint("workflow_tasks_id_fkey", table, type_="foreignkey")
    op.add_column(table, sa.Column("step_id", sa.Uuid, sa.ForeignKey("workflow_steps.id")))
    op.add_column(table, sa.Column("purpose", sa.Text, nullable=False, server_default="approval"))
    op.add_column(table, sa.Column("seen", JSONB, nullable=False, server_default=EMPTY))
    op.add_column(table, sa.Column("subject_hash", sa.Text, nullable=False, server_default=""))
    op.add_column(table, sa.Column("needed", sa.Integer, nullable=False, server_default="1"))
    for name in ("purpose", "seen", "subject_hash", "needed"):
        op.alter_column(table, name, server_default=None)
    for name in ("role", "not_by", "reason", "decided_by"):
        op.add_column(table, sa.Column(name, sa.Text))
    op.execute(f"UPDATE {table} SET step_id = id")
    op.execute(f"UPDATE {table} SET decided_by = assignee_id WHERE decision IS NOT NULL")
    op.alter_column(table, "step_id", nullable=False)
    op.alter_column(table, "assignee_id", nullable=True)
    op.drop_index(f"ix_{table}_assignee_id")
    for name in ("assignee_id", "role"):
        op.create_index(f"ix_{table}_{name}", table, [name, "status", "created_at", "id"])
    op.create_index(f"ix_{table}_step_id", table, ["step_id"])


def ai_calls() -> None:
    table = "workflow_ai_calls"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("run_id", sa.Uuid, sa.ForeignKey("workflow_runs.id")),
        sa.Column("step_id", sa.Uuid, sa.ForeignKey("workflow_steps.id")),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("cost_usd", sa.Double, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
    )
    for name in ("run_id", "created_at"):
        op.create_index(f"ix_{table}_{name}", table, [name])


def downgrade() -> None:
    raise NotImplementedError("branches and votes have no place in the tables before")
