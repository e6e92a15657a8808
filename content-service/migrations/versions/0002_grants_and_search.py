"""Let grants name roles and expire, and index the words of titles as they are written."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Weight B has the words of the title as they are written, for suggestions.
SEARCH_VECTOR = """
CREATE OR REPLACE FUNCTION content_search_vector(title text, body text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN setweight(to_tsvector('english', title), 'A')
        || setweight(to_tsvector('simple', title), 'B')
        || to_tsvector('english', left(coalesce(body, ''), 1000000));
EXCEPTION WHEN program_limit_exceeded THEN
    RETURN setweight(to_tsvector('english', title), 'A')
        || setweight(to_tsvector('simple', title), 'B')
        || to_tsvector('english', left(body, 100000));
END $$
"""


def upgrade() -> None:
    op.add_column("content_access", sa.Column("grantee", sa.Text))
    op.add_column("content_access", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.execute("UPDATE content_access SET grantee = 'user:' || user_id")
    op.drop_constraint("content_access_pkey", "content_access")
    op.drop_column("content_access", "user_id")
    op.create_primary_key("content_access_pkey", "content_access", ["grantee", "document_id"])
    op.execute(SEARCH_VECTOR)
    op.execute(
        "UPDATE content_documents SET title = title"
    )  # makes PostgreSQL compute `search` again


def downgrade() -> None:
    raise NotImplementedError("the older schema cannot hold grants to roles")
