"""Renames event types and statuses: a step has failed, fanned out, started a child."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

EVENT_TYPES = {
    "step.again": "step.rescheduled",
    "step.spread": "step.fanned_out",
    "step.launched": "step.child_started",
    "step.dead": "step.failed",
    "step.late": "step.result_discarded",
}
DATA_FIELDS = {
    "step.fanned_out": ("lanes", "branches"),
    "step.result_discarded": ("late_result", "result"),
}
RENAME_TYPE = "UPDATE workflow_history SET type = :new WHERE type = :old"
RENAME_FIELD = """
UPDATE workflow_history SET data = data - :old || jsonb_build_object(:new, data -> :old)
WHERE type = :type AND data ? :old
"""


def upgrade() -> None:
    connection = op.get_bind()
    op.execute("ALTER TABLE workflow_history DISABLE TRIGGER append_only")
    for old, new in EVENT_TYPES.items():
        connection.execute(sa.text(RENAME_TYPE), {"old": old, "new": new})
    for event_type, (old, new) in DATA_FIELDS.items():
        connection.execute(sa.text(RENAME_FIELD), {"type": event_type, "old": old, "new": new})
    op.execute("ALTER TABLE workflow_history ENABLE TRIGGER append_only")
    op.execute("UPDATE workflow_steps SET status = 'failed' WHERE status = 'dead'")


def downgrade() -> None:
    raise NotImplementedError("the service reads the new types only")
