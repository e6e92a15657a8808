"""An index of dead letters, and a record of who replayed or purged them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_communication_deliveries_dead",
        "communication_deliveries",
        ["id"],
        postgresql_where=sa.text("status = 'dead'"),
    )
    op.create_table(
        "communication_operations",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Uuid, nullable=False),
        sa.Column("acting_service", sa.Text),
        sa.Column("which", JSONB, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("trace_id", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("communication_operations")
    op.drop_index("ix_communication_deliveries_dead", "communication_deliveries")
