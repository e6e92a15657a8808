"""Users, roles, sessions, service clients, the change feed and the audit trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SYSTEM_ROLES = {
    "admin": ("Has all permissions.", ["*"]),
    "editor": (
        "Works with documents, notifications, templates and workflows.",
        [
            "documents:read",
            "documents:write",
            "notifications:send",
            "templates:read",
            "templates:write",
            "definitions:read",
            "definitions:write",
            "workflows:start",
            "workflows:read",
            "ai:use",
        ],
    ),
    "member": (
        "The default role of new users.",
        [
            "documents:read",
            "documents:write",
            "notifications:send",
            "templates:read",
            "definitions:read",
            "workflows:start",
            "workflows:read",
            "ai:use",
        ],
    ),
    "viewer": (
        "Reads documents, workflows and templates, and changes nothing.",
        ["documents:read", "definitions:read", "workflows:read", "templates:read"],
    ),
    "guest": ("Has no permissions.", []),
}


def time(name: str, *, default: bool = False) -> sa.Column[object]:
    server_default = sa.func.now() if default else None
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=server_default
    )


def upgrade() -> None:
    roles = op.create_table(
        "roles",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("permissions", ARRAY(sa.Text), nullable=False),
        sa.Column("is_system", sa.Boolean, nullable=False),
        time("created_at", default=True),
    )
    op.bulk_insert(
        roles,
        [
            {"name": name, "description": text, "permissions": permissions, "is_system": True}
            for name, (text, permissions) in SYSTEM_ROLES.items()
        ],
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("email", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("phone", sa.Text),
        sa.Column("push_tokens", ARRAY(sa.Text), nullable=False),
        sa.Column("locale", sa.Text, nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("is_verified", sa.Boolean, nullable=False),
        time("created_at", default=True),
        time("updated_at"),
    )
    op.create_table(
        "user_roles",
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("users.id", ondelete="CASCADE")),
        sa.Column("role_name", sa.Text, sa.ForeignKey("roles.name", ondelete="CASCADE")),
        sa.PrimaryKeyConstraint("user_id", "role_name"),
        sa.Index("ix_user_roles_role_name", "role_name"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column(
            "user_id", sa.Uuid, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("ip", sa.Text),
        sa.Column("user_agent", sa.Text),
        time("created_at"),
        time("last_used_at"),
        time("expires_at"),
        sa.Index("ix_sessions_user_id", "user_id"),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column(
            "session_id", sa.Uuid, sa.ForeignKey("sessions.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.Index("ix_refresh_tokens_session_id", "session_id"),
    )
    op.create_table(
        "service_clients",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("client_id", sa.Text, nullable=False, unique=True),
        sa.Column("secret_digest", sa.LargeBinary, nullable=False),
        sa.Column("permissions", ARRAY(sa.Text), nullable=False),
    )
    op.create_table(
        "changes",
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("user_id", sa.Uuid),
        sa.Column("session_id", sa.Uuid),
    )
    op.create_table(
        "audit_events",
        sa.Column("id", sa.Uuid, primary_key=True),
        time("at"),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Uuid),
        sa.Column("acting_service", sa.Text),
        sa.Column("subject_id", sa.Uuid),
        sa.Column("ip", sa.Text),
        sa.Column("trace_id", sa.Text),
        sa.Column("details", JSONB, nullable=False),
    )
    # Keeps the table append-only even for an attacker who uses the connection of this service.
    op.execute(
        "CREATE FUNCTION refuse_to_change_audit_events() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'audit_events is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_audit_events()"
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.String(64), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("headers", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        time("created_at", default=True),
        sa.Index("ix_idempotency_keys_created_at", "created_at"),
    )


def downgrade() -> None:
    for table in (
        "idempotency_keys",
        "audit_events",
        "changes",
        "service_clients",
        "refresh_tokens",
        "sessions",
        "user_roles",
        "users",
        "roles",
    ):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_to_change_audit_events")
