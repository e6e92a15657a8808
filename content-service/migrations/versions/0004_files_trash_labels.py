"""Add labels to versions, and indexes for the trash, for duplicates and for uses of files."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The label of a version may change, and nothing else.
VERSIONS_ARE_IMMUTABLE = """
CREATE TRIGGER immutable BEFORE UPDATE OF document_id, number, title, body, tags, content_type,
    filename, size, sha256, author_id, created_at ON content_versions
FOR EACH ROW EXECUTE FUNCTION content_refuse_change()
"""


def upgrade() -> None:
    op.add_column("content_versions", sa.Column("label", sa.Text))
    op.execute("DROP TRIGGER immutable ON content_versions")
    op.execute(VERSIONS_ARE_IMMUTABLE)
    is_file = sa.text("body IS NULL")
    for table in ("content_versions", "content_documents"):
        op.create_index(f"ix_{table}_file", table, ["sha256"], postgresql_where=is_file)
    op.create_index(
        "ix_content_documents_trash",
        "content_documents",
        ["deleted_at"],
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )


def downgrade() -> None:
    raise NotImplementedError("the older schema cannot hold labels")
