"""The tables. A document's row is its current state; content_versions holds every state it had."""

from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from chassis.clock import now
from chassis.idempotency import define_keys_table
from chassis.job_queue import QueuedJobMixin
from chassis.notification_outbox import OutboxMixin
from chassis.tracing import get_trace_id

from .database import Base


class Level(StrEnum):
    """Says what a user may do with a document; each level includes the ones before it."""

    READ = "read"
    WRITE = "write"
    MANAGE = "manage"


# How the grantee of a grant begins: user:<id> or role:<name>.
USER_PREFIX = "user:"
ROLE_PREFIX = "role:"

Id = Annotated[UUID, mapped_column(primary_key=True, default=uuid7)]
Timestamp = Annotated[datetime, mapped_column(default=now)]
TraceId = Annotated[str | None, mapped_column(default=get_trace_id)]
# Users are in identity's database; here is their id as text, as tokens carry it.
UserId = Annotated[str, mapped_column(sa.Uuid(as_uuid=False))]

idempotency_keys = define_keys_table(Base.metadata)


GIN: Any = {"postgresql_using": "gin", "postgresql_with": {"fastupdate": "off"}}
FILE_INDEX = ("file", "sha256", "body IS NULL")  # the uses of a file; text documents use none
DUE_INDEX = ("due", "run_at", "status IN ('pending', 'running')")


def build_partial_index(table: str, name: str, column: str, condition: str) -> sa.Index:
    return sa.Index(f"ix_{table}_{name}", column, postgresql_where=sa.text(condition))


class Snapshot:
    """Adds the columns that a version preserves; the content of a file is in the storage."""

    title: Mapped[str]
    body: Mapped[str | None]
    tags: Mapped[list[str]]
    content_type: Mapped[str]
    filename: Mapped[str | None]
    size: Mapped[int]
    sha256: Mapped[str]


class Document(Snapshot, Base):
    __tablename__ = "content_documents"
    __table_args__ = (
        sa.Index("ix_content_documents_search", "search", **GIN),
        build_partial_index("content_documents", "trash", "deleted_at", "deleted_at IS NOT NULL"),
        build_partial_index("content_documents", *FILE_INDEX),
    )

    # PostgreSQL computes `search`, which is never read back.
    __mapper_args__ = MappingProxyType({"eager_defaults": False})

    id: Mapped[Id]
    owner_id: Mapped[UserId]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Timestamp]
    updated_at: Mapped[Timestamp]
    deleted_at: Mapped[datetime | None]
    # The text of an uploaded file is here, too, so that one index serves every type of document.
    extracted: Mapped[str | None] = mapped_column(deferred=True)
    search: Mapped[str] = mapped_column(
        TSVECTOR,
        sa.Computed("content_search_vector(title, coalesce(body, extracted))", persisted=True),
        deferred=True,
    )


class Version(Snapshot, Base):
    """Preserves a state of a document; a trigger forbids any change but to the label."""

    __tablename__ = "content_versions"
    __table_args__ = (build_partial_index("content_versions", *FILE_INDEX),)

    document_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Document.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[UserId]
    created_at: Mapped[Timestamp]
    label: Mapped[str | None]


class Grant(Base):
    """Gives a user or a role a level on a document. The owner has a grant as well."""

    __tablename__ = "content_access"
    __table_args__ = (
        sa.CheckConstraint("level IN ('read', 'write', 'manage')", name="level"),
        sa.Index("ix_content_access_document_id", "document_id"),
        build_partial_index("content_access", "expiring", "expires_at", "expires_at IS NOT NULL"),
    )

    # In this order the primary key is also the index of "my documents, newest first".
    grantee: Mapped[str] = mapped_column(primary_key=True)  # user:<id> or role:<name>
    document_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Document.id), primary_key=True)
    level: Mapped[str]
    expires_at: Mapped[datetime | None]
    granted_by: Mapped[UserId]
    granted_at: Mapped[Timestamp]

    @property
    def user_id(self) -> str | None:
        return strip_prefix(self.grantee, USER_PREFIX)

    @property
    def role(self) -> str | None:
        return strip_prefix(self.grantee, ROLE_PREFIX)


def strip_prefix(grantee: str, prefix: str) -> str | None:
    return grantee.removeprefix(prefix) if grantee.startswith(prefix) else None


class Processing(QueuedJobMixin, Base):
    """Queues a text extraction and holds its result."""

    __tablename__ = "content_processings"
    __table_args__ = (
        sa.UniqueConstraint("document_id", "sha256"),  # the same content is read only once
        sa.ForeignKeyConstraint(["document_id", "version"], [Version.document_id, Version.number]),
        build_partial_index("content_processings", *DUE_INDEX),
    )

    id: Mapped[Id]
    document_id: Mapped[UUID]
    version: Mapped[int]
    sha256: Mapped[str]
    trace_id: Mapped[TraceId]

    text: Mapped[str | None]
    language: Mapped[str | None]
    word_count: Mapped[int | None]
    page_count: Mapped[int | None]
    finished_at: Mapped[datetime | None]


class ShareLink(Base):
    """Opens a document to everyone who has the token, of which only a hash is stored."""

    __tablename__ = "content_share_links"
    __table_args__ = (sa.Index("ix_content_share_links_document", "document_id", "id"),)

    id: Mapped[Id]
    document_id: Mapped[UUID] = mapped_column(sa.ForeignKey(Document.id))
    token_hash: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    version: Mapped[int | None]  # None opens the current one
    expires_at: Mapped[datetime | None]
    max_uses: Mapped[int | None]
    uses: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[UserId]
    created_at: Mapped[Timestamp]
    revoked_at: Mapped[datetime | None]
    minute: Mapped[Timestamp]  # when the minute began in which `tries` are counted
    tries: Mapped[int] = mapped_column(default=0)

    @property
    def policy(self) -> str:
        return "latest" if self.version is None else "pinned"

    @property
    def has_password(self) -> bool:
        return self.password_hash is not None


class Notice(OutboxMixin, Base):
    """The outbox of notifications; rows are deleted once communication has them."""

    __tablename__ = "content_notices"
    __table_args__ = (
        build_partial_index("content_notices", *DUE_INDEX),
        sa.Index("ix_content_notices_document", "document_id"),
    )

    id: Mapped[Id]
    document_id: Mapped[UUID]
    recipient_id: Mapped[UserId]
    subject: Mapped[str]
    body: Mapped[str]


class AuditEntry(Base):
    """Records one action; triggers forbid changing, deleting and truncating the trail."""

    __tablename__ = "content_audit"
    __table_args__ = (sa.Index("ix_content_audit_document", "document_id", "id"),)

    id: Mapped[Id]
    document_id: Mapped[UUID]  # no foreign key: the trail outlives the document
    action: Mapped[str]
    actor_id: Mapped[UserId | None]  # None for a share link's visitor and for the service itself
    acting_service: Mapped[str | None]
    at: Mapped[Timestamp]
    trace_id: Mapped[TraceId]
    details: Mapped[dict[str, Any]]
