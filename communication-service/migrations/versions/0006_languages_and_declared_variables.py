"""Templates in several languages, and with variables that they declare."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEMPLATES, NOTIFICATIONS = "communication_templates", "communication_notifications"


def upgrade() -> None:
    none = sa.text("'{}'")
    op.add_column(TEMPLATES, sa.Column("translations", JSONB, nullable=False, server_default=none))
    op.add_column(TEMPLATES, sa.Column("variables_schema", JSONB))
    op.add_column(NOTIFICATIONS, sa.Column("translations", JSONB))


def downgrade() -> None:
    op.drop_column(NOTIFICATIONS, "translations")
    op.drop_column(TEMPLATES, "variables_schema")
    op.drop_column(TEMPLATES, "translations")
