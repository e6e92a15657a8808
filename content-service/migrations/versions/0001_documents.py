"""Create documents, versions, access, processings, the audit trail and idempotency keys."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A tsvector holds at most 1 MB. Real texts of a million characters stay far below that. A text made
# of different words only may not; the search then finds its beginning.
SEARCH_VECTOR = """
CREATE FUNCTION content_search_vector(title text, body text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN setweight(to_tsvector('english', title), 'A')
        || to_tsvector('english', left(coalesce(body, ''), 1000000));
EXCEPTION WHEN program_limit_exceeded THEN
    RETURN setweight(to_tsvector('english', title), 'A')
        || to_tsvector('english', left(body, 100000));
END $$
"""

REFUSE_CHANGE = """
CREATE FUNCTION content_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$
"""

VERSIONS_ARE_IMMUTABLE = """
CREATE TRIGGER immutable BEFORE UPDATE ON content_versions
FOR EACH ROW EXECUTE FUNCTION content_refuse_change()
"""

AUDIT_IS_APPEND_ONLY = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON content_audit
FOR EACH ROW EXECUTE FUNCTION content_refuse_change()
"""


def snapshot() -> list[sa.Column[Any]]:
    return [
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text),
        sa.Column("tags", ARRAY(sa.Text), nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("filename", sa.Text),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
    ]


def time(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.execute(SEARCH_VECTOR)
    op.execute(REFUSE_CHANGE)
    op.create_table(
        "content_documents",
        sa.Column("id", sa.Uuid, primary_key=True),
        *snapshot(),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        time("created_at"),
        time("updated_at"),
        time("deleted_at", nullable=True),
        sa.Column("extracted", sa.Text),
        sa.Column(
            "search",
            TSVECTOR,
            sa.Computed("content_search_vector(title, coalesce(body, extracted))", persisted=True),
            nullable=False,
        ),
    )
    op.create_index(
        "ix_content_documents_search", "content_documents", ["search"], postgresql_using="gin"
    )
    op.create_table(
        "content_versions",
        sa.Column("document_id", sa.Uuid, sa.ForeignKey("content_documents.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        *snapshot(),
        sa.Column("author_id", sa.Uuid, nullable=False),
        time("created_at"),
    )
    op.execute(VERSIONS_ARE_IMMUTABLE)
    op.create_table(
        "content_access",
        sa.Column("user_id", sa.Uuid, primary_key=True),
        sa.Column("document_id", sa.Uuid, sa.ForeignKey("content_documents.id"), primary_key=True),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("granted_by", sa.Uuid, nullable=False),
        time("granted_at"),
        sa.CheckConstraint("level IN ('read', 'write', 'manage')", name="level"),
    )
    op.create_index("ix_content_access_document_id", "content_access", ["document_id"])
    op.create_table(
        "content_processings",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("document_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text),
        sa.Column("status", sa.Text, nullable=False),
        time("run_at"),
        sa.Column("attempts", sa.Integer, nullable=False),
        time("lease_until", nullable=True),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("text", sa.Text),
        sa.Column("word_count", sa.Integer),
        sa.Column("page_count", sa.Integer),
        time("finished_at", nullable=True),
        sa.UniqueConstraint("document_id", "version"),
        sa.ForeignKeyConstraint(
            ["document_id", "version"], ["content_versions.document_id", "content_versions.number"]
        ),
    )
    op.create_index(
        "ix_content_processings_due",
        "content_processings",
        ["run_at"],
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.create_table(
        "content_audit",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("document_id", sa.Uuid, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Uuid, nullable=False),
        sa.Column("acting_service", sa.Text),
        time("at"),
        sa.Column("trace_id", sa.Text),
        sa.Column("details", JSONB, nullable=False),
    )
    op.create_index("ix_content_audit_document", "content_audit", ["document_id", "id"])
    op.execute(AUDIT_IS_APPEND_ONLY)
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("headers", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    for table in ("idempotency_keys", "content_audit", "content_processings", "content_access"):
        op.drop_table(table)
    op.drop_table("content_versions")
    op.drop_table("content_documents")
    op.execute("DROP FUNCTION content_refuse_change")
    op.execute("DROP FUNCTION content_search_vector")
