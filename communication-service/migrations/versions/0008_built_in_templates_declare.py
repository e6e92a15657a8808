"""A second version of the built-in templates, which declares their variables."""

from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

REVIEW_REQUESTED = UUID("01900000-0000-7000-8000-000000000001")
REVIEW_DECIDED = UUID("01900000-0000-7000-8000-000000000002")
TEXT, OPTIONAL = {"type": "string"}, {"type": ["string", "null"]}
SCHEMAS = {
    REVIEW_REQUESTED: {
        "properties": {
            "document_title": TEXT,
            "summary": TEXT,
            "task_id": TEXT,
            "author_name": OPTIONAL,
        },
        "required": ["document_title", "summary", "task_id"],
    },
    REVIEW_DECIDED: {
        "properties": {
            "document_title": TEXT,
            "decision": TEXT,
            "comment": OPTIONAL,
            "reviewer_name": OPTIONAL,
        },
        "required": ["document_title", "decision", "comment"],
    },
}
# A version that an editor has already written stays the current one.
DECLARE = sa.text("""
    INSERT INTO communication_templates
        (id, version, name, subject, body, html, built_in, variables_schema)
    SELECT id, 2, name, subject, body, html, built_in, :schema
    FROM communication_templates WHERE id = :id AND version = 1
    ON CONFLICT DO NOTHING
""").bindparams(sa.bindparam("id", type_=sa.Uuid), sa.bindparam("schema", type_=JSONB))
REMOVE = sa.text("""
    DELETE FROM communication_templates
    WHERE id = :id AND version = 2 AND author_id IS NULL
""").bindparams(sa.bindparam("id", type_=sa.Uuid))


def upgrade() -> None:
    for template_id, schema in SCHEMAS.items():
        op.execute(DECLARE.bindparams(id=template_id, schema=schema))


def downgrade() -> None:
    for template_id in SCHEMAS:
        op.execute(REMOVE.bindparams(id=template_id))
