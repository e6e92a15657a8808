"""The tables. A user is an `Account` here, because `User` is the caller (chassis.auth)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, Index, LargeBinary, Table, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, query_expression, relationship
from sqlalchemy.sql import ColumnElement
from uuid_utils.compat import uuid7

from chassis.clock import now
from chassis.idempotency import define_keys_table
from chassis.notification_outbox import OutboxMixin

from .database import Base

define_keys_table(Base.metadata)

user_roles = Table(
    "user_roles",
    Base.metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role_name", ForeignKey("roles.name", ondelete="CASCADE"), primary_key=True, index=True),
)

# The devices each user has logged in from, so that a login from a new one can be reported.
devices = Table(
    "devices",
    Base.metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
)


class Role(Base):
    """Names a set of permissions. System roles come from the migrations and cannot be changed."""

    __tablename__ = "roles"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(default="")
    permissions: Mapped[list[str]]
    inherits: Mapped[list[str]] = mapped_column(default=list)
    effective_permissions: Mapped[list[str]] = mapped_column(default=list)
    is_system: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Account(Base):
    """Represents a user. The email is stored in its normalized form, so it is unique."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password_hash: Mapped[str]
    phone: Mapped[str | None]
    push_tokens: Mapped[list[str]] = mapped_column(default=list)
    locale: Mapped[str] = mapped_column(default="en")
    timezone: Mapped[str] = mapped_column(default="UTC")
    is_active: Mapped[bool] = mapped_column(default=True)
    locked_until: Mapped[datetime | None]  # set by an administrator
    is_verified: Mapped[bool] = mapped_column(default=False)
    is_service_account: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)

    role_objects: Mapped[list[Role]] = relationship(
        secondary=user_roles, lazy="selectin", order_by=Role.name
    )

    @hybrid_property
    def can_log_in(self) -> bool:
        return self.is_active and (self.locked_until is None or self.locked_until <= now())

    @can_log_in.inplace.expression
    @classmethod
    def _can_log_in(cls) -> ColumnElement[bool]:
        return cls.is_active & (cls.locked_until.is_(None) | (cls.locked_until <= func.now()))

    @property
    def user_id(self) -> UUID:
        return self.id

    @property
    def roles(self) -> list[str]:
        return [role.name for role in self.role_objects]

    @property
    def permissions(self) -> list[str]:
        return sorted({name for role in self.role_objects for name in role.effective_permissions})


class LoginSession(Base):
    """Represents one login of a user on one device. Ending a session deletes its row."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime] = mapped_column(default=now)
    proved_at: Mapped[datetime] = mapped_column(default=now)  # last login or step-up
    expires_at: Mapped[datetime]
    is_current: Mapped[bool] = query_expression()  # whether the request comes from it


class RefreshToken(Base):
    """Keeps each token of a session, used ones too, so that a second use is detected."""

    __tablename__ = "refresh_tokens"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(
        ForeignKey(LoginSession.id, ondelete="CASCADE"), index=True
    )
    used_at: Mapped[datetime | None]


class Mail(OutboxMixin, Base):
    """Queues an email for the communication service, and keeps the state of its link, if any."""

    __tablename__ = "mails"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"))
    kind: Mapped[str]
    variables: Mapped[dict[str, str]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(default=now)
    link_digest: Mapped[bytes | None] = mapped_column(unique=True)
    link_expires_at: Mapped[datetime | None]
    link_used_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_mails_status_run_at", "status", "run_at"),
        Index("ix_mails_user_id", "user_id", "kind", "created_at"),
    )


class OAuthClient(Base):
    """Represents a service that may fetch tokens with OAuth2 client credentials."""

    __tablename__ = "service_clients"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    client_id: Mapped[str] = mapped_column(unique=True)
    secret_digest: Mapped[bytes]
    permissions: Mapped[list[str]]


class ApiKey(Base):
    """Lets an API client log in. `secret` is set only right after creation or rotation."""

    __tablename__ = "api_keys"
    __allow_unmapped__ = True  # for `secret`

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    secret: str | None = None


class SecondFactor(Base):
    """Represents an authenticator app. It is enabled once `last_step`, its last code, is set."""

    __tablename__ = "second_factors"

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey(Account.id, ondelete="CASCADE"), primary_key=True
    )
    sealed_secret: Mapped[str]  # see tokens.unseal_secret
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    recovery_digests: Mapped[list[bytes]]


class Challenge(Base):
    """Represents a login with the right password that still needs its code."""

    __tablename__ = "challenges"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime]


class Change(Base):
    """Names the cached users that other services must drop; two nulls mean all users."""

    __tablename__ = "changes"

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[UUID | None]
    session_id: Mapped[UUID | None]


class AuditEvent(Base):
    """Records an action. A trigger in the database prevents changing and deleting rows."""

    __tablename__ = "audit_events"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    at: Mapped[datetime] = mapped_column(default=now)
    action: Mapped[str]
    actor_id: Mapped[UUID | None]
    acting_service: Mapped[str | None]
    subject_id: Mapped[UUID | None]
    ip: Mapped[str | None]
    trace_id: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)

    # The filters of GET /audit-events; ids grow with time.
    __table_args__ = tuple(
        Index(f"ix_audit_events_{name}", name, "id")
        for name in ("action", "actor_id", "subject_id")
    )
