"""Positions in the inbox, in the order of arrival, and an archive."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INBOX = "communication_inbox"


def upgrade() -> None:
    op.create_table(
        "communication_inboxes",
        sa.Column("user_id", sa.Uuid, primary_key=True),
        sa.Column("newest", sa.BigInteger, nullable=False),
    )
    op.add_column(INBOX, sa.Column("position", sa.BigInteger))
    op.add_column(INBOX, sa.Column("archived_at", sa.DateTime(timezone=True)))
    number_what_is_there()
    op.alter_column(INBOX, "position", nullable=False)
    op.drop_index("ix_communication_inbox_user", INBOX)
    op.drop_index("ix_communication_inbox_unread", INBOX)
    op.create_unique_constraint(None, INBOX, ["user_id", "position"])
    create_index("kept", "archived_at IS NULL")
    create_index("unread", "read_at IS NULL AND archived_at IS NULL")


def number_what_is_there() -> None:
    op.execute(f"""
        UPDATE {INBOX} item SET position = numbered.position FROM (
            SELECT id, row_number() OVER (PARTITION BY user_id ORDER BY id) AS position
            FROM {INBOX}
        ) numbered WHERE numbered.id = item.id
    """)
    op.execute(f"""
        INSERT INTO communication_inboxes (user_id, newest)
        SELECT user_id, max(position) FROM {INBOX} GROUP BY user_id
    """)


def create_index(name: str, condition: str) -> None:
    op.create_index(
        f"ix_communication_inbox_{name}",
        INBOX,
        ["user_id", "position"],
        postgresql_where=sa.text(condition),
    )


def downgrade() -> None:
    op.drop_index("ix_communication_inbox_unread", INBOX)
    op.drop_index("ix_communication_inbox_kept", INBOX)
    op.drop_column(INBOX, "archived_at")
    op.drop_column(INBOX, "position")
    op.create_index("ix_communication_inbox_user", INBOX, ["user_id", "id"])
    op.create_index(
        "ix_communication_inbox_unread",
        INBOX,
        ["user_id"],
        postgresql_where=sa.text("read_at IS NULL"),
    )
    op.drop_table("communication_inboxes")
