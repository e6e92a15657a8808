"""Publish version 2 of document-review: the decision applies to the document that was read."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op
from uuid_utils.compat import uuid7

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BOUND = {"document_id": "input.document_id", "version": "steps.extract.version"}
FIRST = """
SELECT content FROM workflow_definitions
WHERE name = 'document-review' AND version = 1 AND created_by IS NULL AND retired_at IS NULL
"""
NEXT = """
INSERT INTO workflow_definitions (id, name, version, content)
VALUES (:id, 'document-review', 2, CAST(:content AS json))
"""


def upgrade() -> None:
    """Publish version 2, unless an administrator has published a version of their own."""
    connection = op.get_bind()
    content: dict[str, Any] | None = connection.scalar(sa.text(FIRST))
    if content is None:
        return
    content["steps"]["review"]["with"] |= BOUND
    retire = "UPDATE workflow_definitions SET retired_at = now() WHERE name = 'document-review'"
    connection.execute(sa.text(retire))
    connection.execute(sa.text(NEXT), {"id": uuid7(), "content": json.dumps(content)})


def downgrade() -> None:
    raise NotImplementedError("a published version cannot be withdrawn")
