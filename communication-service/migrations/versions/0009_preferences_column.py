"""Name the column of a user's preferences after what it holds."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.alter_column("communication_preferences", "wishes", new_column_name="preferences")


def downgrade() -> None:
    op.alter_column("communication_preferences", "preferences", new_column_name="wishes")
