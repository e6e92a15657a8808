"""Webhook endpoints, and deliveries to them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

DELIVERIES, ENDPOINTS = "communication_deliveries", "communication_endpoints"
ONE_PER_CHANNEL = "communication_deliveries_notification_id_channel_key"


def time(name: str, **options: object) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), **options)  # type: ignore[arg-type]


def upgrade() -> None:
    op.create_table(
        ENDPOINTS,
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("categories", sa.ARRAY(sa.Text)),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("old_secret", sa.Text),
        time("old_secret_until"),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("failures", sa.Integer, nullable=False),
        time("failing_since"),
        time("probe_at"),
        time("created_at", nullable=False),
        sa.Index("ix_communication_endpoints_owner", "owner_id", "id"),
    )
    # No foreign key, because a delivery outlives its endpoint.
    op.add_column(DELIVERIES, sa.Column("endpoint_id", sa.Uuid))
    op.drop_constraint(ONE_PER_CHANNEL, DELIVERIES)
    op.create_unique_constraint(
        ONE_PER_CHANNEL,
        DELIVERIES,
        ["notification_id", "channel", "endpoint_id"],
        postgresql_nulls_not_distinct=True,
    )
    op.create_index(
        "ix_communication_deliveries_endpoint",
        DELIVERIES,
        ["endpoint_id"],
        postgresql_where=sa.text("status = 'pending' AND endpoint_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.execute(f"DELETE FROM communication_attempts USING {DELIVERIES} delivery"
               " WHERE delivery.id = delivery_id AND channel = 'webhook'")  # fmt: skip
    op.execute(f"DELETE FROM {DELIVERIES} WHERE channel = 'webhook'")
    op.drop_index("ix_communication_deliveries_endpoint", DELIVERIES)
    op.drop_constraint(ONE_PER_CHANNEL, DELIVERIES)
    op.create_unique_constraint(ONE_PER_CHANNEL, DELIVERIES, ["notification_id", "channel"])
    op.drop_column(DELIVERIES, "endpoint_id")
    op.drop_table(ENDPOINTS)
