"""Templates with the built-in ones, notifications with their deliveries, and the inbox."""

from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

REVIEW_REQUESTED = {
    "id": UUID("01900000-0000-7000-8000-000000000001"),
    "name": "review-requested",
    "subject": "Please review: {{ document_title }}",
    "body": """\
{{ author_name|default("Someone", true) }} asks you to review "{{ document_title }}".

In short:
{{ summary }}

Decide in your task list. The task is {{ task_id }}.
""",
    "html": """\
<p>{{ author_name|default("Someone", true) }} asks you to review
<strong>{{ document_title }}</strong>.</p>
<p>In short:</p>
<blockquote>{{ summary }}</blockquote>
<p>Decide in your task list. The task is <code>{{ task_id }}</code>.</p>
""",
}

REVIEW_DECIDED = {
    "id": UUID("01900000-0000-7000-8000-000000000002"),
    "name": "review-decided",
    "subject": "{{ document_title }}: {{ decision }}",
    "body": """\
{{ reviewer_name|default("The reviewer", true) }} has decided on "{{ document_title }}": \
{{ decision }}.
{% if comment %}
{{ comment }}
{% endif %}""",
    "html": """\
<p>{{ reviewer_name|default("The reviewer", true) }} has decided on
<strong>{{ document_title }}</strong>: {{ decision }}.</p>
{% if comment %}<blockquote>{{ comment }}</blockquote>{% endif %}
""",
}


def time(name: str, **options: object) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), **options)  # type: ignore[arg-type]


def upgrade() -> None:
    templates = create_templates()
    op.bulk_insert(templates, [REVIEW_REQUESTED, REVIEW_DECIDED])
    create_notifications()
    create_queue()
    create_inbox()
    create_idempotency_keys()


def create_templates() -> sa.Table:
    templates = op.create_table(
        "communication_templates",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, server_default="1"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("html", sa.Text),
        sa.Column("built_in", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("author_id", sa.Uuid),
        time("created_at", nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("name", "version"),
    )
    op.execute("""
        CREATE FUNCTION communication_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'a version of a template is never changed'; END $$
    """)
    op.execute("""
        CREATE TRIGGER communication_templates_are_immutable
        BEFORE UPDATE ON communication_templates
        FOR EACH ROW EXECUTE FUNCTION communication_refuse_change()
    """)
    return templates


def create_notifications() -> None:
    op.create_table(
        "communication_notifications",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("sender_id", sa.Uuid, nullable=False),
        sa.Column("recipient_id", sa.Uuid, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("template", sa.Text),
        sa.Column("template_version", sa.Integer),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("html", sa.Text),
        time("send_at"),
        sa.Column("trace_id", sa.Text),
        time("created_at", nullable=False),
        sa.Index("ix_communication_notifications_sender", "sender_id", "id"),
    )


def create_queue() -> None:
    op.create_table(
        "communication_deliveries",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column(
            "notification_id",
            sa.Uuid,
            sa.ForeignKey("communication_notifications.id"),
            nullable=False,
        ),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        time("run_at", nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        time("lease_until"),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.UniqueConstraint("notification_id", "channel"),
        sa.Index(
            "ix_communication_deliveries_due",
            "channel",
            "run_at",
            postgresql_where=sa.text("status IN ('pending', 'running')"),
        ),
    )
    op.create_table(
        "communication_attempts",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column(
            "delivery_id", sa.Uuid, sa.ForeignKey("communication_deliveries.id"), nullable=False
        ),
        sa.Column("number", sa.Integer, nullable=False),
        time("started_at", nullable=False),
        time("finished_at"),
        sa.Column("outcome", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("trace_id", sa.Text),
        sa.UniqueConstraint("delivery_id", "number"),
    )


def create_inbox() -> None:
    op.create_table(
        "communication_inbox",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column(
            "delivery_id",
            sa.Uuid,
            sa.ForeignKey("communication_deliveries.id"),
            nullable=False,
            unique=True,
        ),
        sa.Column(
            "notification_id",
            sa.Uuid,
            sa.ForeignKey("communication_notifications.id"),
            nullable=False,
        ),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("sender_id", sa.Uuid, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        time("created_at", nullable=False),
        time("read_at"),
        sa.Index("ix_communication_inbox_user", "user_id", "id"),
        sa.Index(
            "ix_communication_inbox_unread", "user_id", postgresql_where=sa.text("read_at IS NULL")
        ),
    )


def create_idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("headers", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        time("created_at", nullable=False, server_default=sa.func.now()),
        sa.Index("ix_idempotency_keys_created_at", "created_at"),
    )


def downgrade() -> None:
    for table in ("inbox", "attempts", "deliveries", "notifications", "templates"):
        op.drop_table(f"communication_{table}")
    op.drop_table("idempotency_keys")
    op.execute("DROP FUNCTION communication_refuse_change()")
