"""Create share links and notices, and let the audit trail record visitors without an account."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

AUDIT_IS_NEVER_EMPTIED = """
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON content_audit
FOR EACH STATEMENT EXECUTE FUNCTION content_refuse_change()
"""


def time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "content_share_links",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("document_id", sa.Uuid, sa.ForeignKey("content_documents.id"), nullable=False),
        sa.Column("token_hash", sa.Text, nullable=False, unique=True),
        sa.Column("password_hash", sa.Text),
        sa.Column("version", sa.Integer),
        time("expires_at", nullable=True),
        sa.Column("max_uses", sa.Integer),
        sa.Column("uses", sa.Integer, nullable=False),
        sa.Column("created_by", sa.Uuid, nullable=False),
        time("created_at"),
        time("revoked_at", nullable=True),
        time("minute"),
        sa.Column("tries", sa.Integer, nullable=False),
    )
    op.create_index("ix_content_share_links_document", "content_share_links", ["document_id", "id"])
    op.create_table(
        "content_notices",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("document_id", sa.Uuid, nullable=False),
        sa.Column("recipient_id", sa.Uuid, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        time("run_at"),
        sa.Column("attempts", sa.Integer, nullable=False),
        time("lease_until", nullable=True),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
    )
    op.create_index(
        "ix_content_notices_due",
        "content_notices",
        ["run_at"],
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_index("ix_content_notices_document", "content_notices", ["document_id"])
    op.alter_column("content_audit", "actor_id", nullable=True)
    op.execute(AUDIT_IS_NEVER_EMPTIED)


def downgrade() -> None:
    raise NotImplementedError("the older schema cannot hold audit entries without an actor")
