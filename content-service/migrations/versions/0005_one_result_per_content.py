"""A result belongs to a document's content, and says its language."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Versions that differ in title or tags only have each their own so far.
KEEP_THE_NEWEST = """
DELETE FROM content_processings old USING content_processings new
WHERE old.document_id = new.document_id AND old.sha256 = new.sha256 AND old.version < new.version
"""


def upgrade() -> None:
    op.add_column("content_processings", sa.Column("language", sa.Text))
    op.execute(KEEP_THE_NEWEST)
    op.drop_constraint("content_processings_document_id_version_key", "content_processings")
    op.create_unique_constraint(
        "content_processings_document_id_sha256_key",
        "content_processings",
        ["document_id", "sha256"],
    )


def downgrade() -> None:
    raise NotImplementedError("what was read once would be read again")
