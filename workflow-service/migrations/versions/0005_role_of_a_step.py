"""Adds the role of a step, in place of a sign in its name."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The engine's own steps were called `name~undo` and `name~7`.
ROLE = "CASE WHEN {0} LIKE '%~undo' THEN 'compensation' ELSE 'notice' END"
NAME = "regexp_replace(replace({0}, '~undo', ''), '~(\\d+)$', '_notice_\\1')"
RENAME_STEPS = f"""
UPDATE workflow_steps SET role = {ROLE.format("name")}, name = {NAME.format("name")}
WHERE name LIKE '%~%'
"""
RENAME_EVENTS = f"""
UPDATE workflow_history SET step = {NAME.format("step")},
    data = data || jsonb_build_object('role', {ROLE.format("step")})
WHERE step LIKE '%~%'
"""


def upgrade() -> None:
    table = "workflow_steps"
    op.add_column(table, sa.Column("role", sa.Text, nullable=False, server_default="work"))
    op.drop_constraint(f"uq_{table}_place", table)
    op.execute(sa.text(RENAME_STEPS))
    op.create_unique_constraint(f"uq_{table}_place", table, ["run_id", "scope", "name", "role"])
    op.execute("ALTER TABLE workflow_history DISABLE TRIGGER append_only")
    op.execute(sa.text(RENAME_EVENTS))
    op.execute("ALTER TABLE workflow_history ENABLE TRIGGER append_only")


def downgrade() -> None:
    raise NotImplementedError("two steps of one place can have the same name now")
