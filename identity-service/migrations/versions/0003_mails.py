"""Adds the outbox of emails with their one-time links, and the devices users log in from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def user_id(*, primary_key: bool = False) -> sa.Column[object]:
    user = sa.ForeignKey("users.id", ondelete="CASCADE")
    return sa.Column("user_id", sa.Uuid, user, nullable=False, primary_key=primary_key)


def upgrade() -> None:
    op.create_table(
        "mails",
        sa.Column("id", sa.Uuid, primary_key=True),
        user_id(),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("variables", JSONB, nullable=False),
        sa.Column("trace_id", sa.Text),
        time("created_at"),
        sa.Column("link_digest", sa.LargeBinary, unique=True),
        time("link_expires_at", nullable=True),
        time("link_used_at", nullable=True),
        sa.Column("status", sa.Text, nullable=False),
        time("run_at"),
        sa.Column("attempts", sa.Integer, nullable=False),
        time("lease_until", nullable=True),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Index("ix_mails_status_run_at", "status", "run_at"),
        sa.Index("ix_mails_user_id", "user_id", "kind", "created_at"),
    )
    op.create_table(
        "devices",
        user_id(primary_key=True),
        sa.Column("digest", sa.LargeBinary, primary_key=True),
    )


def downgrade() -> None:
    op.drop_table("devices")
    op.drop_table("mails")
