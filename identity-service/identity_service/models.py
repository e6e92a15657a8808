"""The tables. A person is an `Account` here, since `User` is whoever calls (chassis.auth)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Table,
    Text,
    and_,
    func,
    or_,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, query_expression, relationship
from uuid_utils.compat import uuid7

from chassis.idempotency import define_keys_table
from chassis.notification_outbox import OutboxMixin

from .database import Base, now

define_keys_table(Base.metadata)

user_roles = Table(
    "user_roles",
    Base.metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role_name", ForeignKey("roles.name", ondelete="CASCADE"), primary_key=True, index=True),
)

# What a person has logged in with, so that something new is noticed.
devices = Table(
    "devices",
    Base.metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
)


class Role(Base):
    """A named set of permissions. System roles are the migrations' and stay."""

    __tablename__ = "roles"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(default="")
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    inherits: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    effective_permissions: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    is_system: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Account(Base):
    """A person. The address is stored in its one normal form, so that it is unique."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    password_hash: Mapped[str]
    phone: Mapped[str | None]
    push_tokens: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    locale: Mapped[str] = mapped_column(default="en")
    timezone: Mapped[str] = mapped_column(default="UTC")
    is_active: Mapped[bool] = mapped_column(default=True)
    locked_until: Mapped[datetime | None]  # by an administrator; it ends by itself
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
        return and_(cls.is_active, or_(cls.locked_until.is_(None), cls.locked_until <= func.now()))

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
    """One login of one person on one device. It is there as long as it is good."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime] = mapped_column(default=now)
    proved_at: Mapped[datetime] = mapped_column(default=now)  # that it is them, with all they have
    expires_at: Mapped[datetime]
    is_current: Mapped[bool] = query_expression()  # the one in which the list is asked for


class RefreshToken(Base):
    """Each token of a session, used ones too: that is how a second use is noticed."""

    __tablename__ = "refresh_tokens"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[UUID] = mapped_column(
        ForeignKey(LoginSession.id, ondelete="CASCADE"), index=True
    )
    used_at: Mapped[datetime | None]


class Mail(OutboxMixin, Base):
    """An email in the outbox, and the link in it, if there is one."""

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
    """A service that has a token of its own."""

    __tablename__ = "service_clients"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    client_id: Mapped[str] = mapped_column(unique=True)
    secret_digest: Mapped[bytes]
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))


class ApiKey(Base):
    """A login for a program. `secret` is there only when it was just made."""

    __tablename__ = "api_keys"
    __allow_unmapped__ = True  # the secret

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]

    secret: str | None = None


class SecondFactor(Base):
    """An app that makes codes. It counts once a code was confirmed: then there is a last step."""

    __tablename__ = "second_factors"

    user_id: Mapped[UUID] = mapped_column(
        ForeignKey(Account.id, ondelete="CASCADE"), primary_key=True
    )
    sealed_secret: Mapped[str]  # needed as it is, unlike a password: tokens.unsealed
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    recovery_digests: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary))


class Challenge(Base):
    """A login with the right password that still lacks its code."""

    __tablename__ = "challenges"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime]


class Change(Base):
    """Whose kept answers the other services must drop; both ids null: everybody's."""

    __tablename__ = "changes"

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    user_id: Mapped[UUID | None]
    session_id: Mapped[UUID | None]


class AuditEvent(Base):
    """What happened, for good: the database itself refuses to change or delete a row."""

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

    # What the trail is searched by; ids are in the order of time.
    __table_args__ = tuple(
        Index(f"ix_audit_events_{name}", name, "id")
        for name in ("action", "actor_id", "subject_id")
    )
