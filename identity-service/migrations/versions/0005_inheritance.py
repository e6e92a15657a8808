"""Lets roles inherit from roles, and adds indexes for searching the audit trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SEARCHED_COLUMNS = ("action", "actor_id", "subject_id")


def upgrade() -> None:
    for name in ("inherits", "effective_permissions"):
        op.add_column("roles", sa.Column(name, ARRAY(sa.Text), nullable=False, server_default="{}"))
        op.alter_column("roles", name, server_default=None)
    op.execute(
        "UPDATE roles SET effective_permissions = ARRAY(SELECT unnest(permissions) ORDER BY 1)"
    )
    for name in SEARCHED_COLUMNS:
        op.create_index(f"ix_audit_events_{name}", "audit_events", [name, "id"])


def downgrade() -> None:
    for name in SEARCHED_COLUMNS:
        op.drop_index(f"ix_audit_events_{name}", "audit_events")
    for name in ("effective_permissions", "inherits"):
        op.drop_column("roles", name)
