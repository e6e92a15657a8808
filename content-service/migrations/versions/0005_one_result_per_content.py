"""Keep one extraction result per content of a document, and add its language."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# So far, versions that differ only in title or tags have a result each.
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
    raise NotImplementedError("the older schema would extract the same content again")
