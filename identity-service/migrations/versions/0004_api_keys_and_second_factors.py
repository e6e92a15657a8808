"""Adds API keys, service accounts, second factors, and the time of a session's last step-up."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def user_id(*, primary_key: bool = False) -> sa.Column[object]:
    user = sa.ForeignKey("users.id", ondelete="CASCADE")
    return sa.Column("user_id", sa.Uuid, user, nullable=False, primary_key=primary_key)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid, primary_key=True),
        user_id(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("scopes", ARRAY(sa.Text), nullable=False),
        time("created_at"),
        time("expires_at", nullable=True),
        time("last_used_at", nullable=True),
        sa.Index("ix_api_keys_user_id", "user_id"),
    )
    op.create_table(
        "second_factors",
        user_id(primary_key=True),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("last_step", sa.BigInteger),
        sa.Column("recovery_digests", ARRAY(sa.LargeBinary), nullable=False),
    )
    op.create_table(
        "challenges",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        user_id(),
        time("expires_at"),
        sa.Index("ix_challenges_user_id", "user_id"),
    )
    op.add_column(
        "users",
        sa.Column("is_service_account", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.alter_column("users", "is_service_account", server_default=None)
    op.add_column("sessions", time("proved_at", nullable=True))
    op.execute("UPDATE sessions SET proved_at = created_at")
    op.alter_column("sessions", "proved_at", nullable=False)


def downgrade() -> None:
    op.drop_column("sessions", "proved_at")
    op.drop_column("users", "is_service_account")
    for table in ("challenges", "second_factors", "api_keys"):
        op.drop_table(table)
