"""The tables. A delivery is one notification on one channel, and a row of the queue of record."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ForeignKey,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship
from uuid_utils.compat import uuid7

from chassis.idempotency import define_keys_table
from chassis.job_queue import DEAD, PENDING, RUNNING, QueuedJobMixin

from .database import Base

DELIVERED, SUPPRESSED, CANCELLED = "delivered", "suppressed", "cancelled"
DELIVERY_STATUSES = (RUNNING, PENDING, DEAD, DELIVERED, SUPPRESSED, CANCELLED)
"""Of a delivery; what comes first says most about a notification with several."""

URGENT, NORMAL, BULK = PRIORITIES = (0, 1, 2)
"""Of a delivery; a worker takes what is urgent first, however much of the rest is due."""


def now() -> datetime:
    return datetime.now(UTC)


Id = Annotated[UUID, mapped_column(primary_key=True, default=uuid7)]
# A person lives in identity's database: here an id as text, as tokens carry it.
UserId = Annotated[str, mapped_column(Uuid(as_uuid=False))]
Timestamp = Annotated[datetime, mapped_column(default=now)]

idempotency_keys = define_keys_table(Base.metadata)


class Content:
    """What is said. A mail shows `html` where it can; everything else shows `body`."""

    subject: Mapped[str]
    body: Mapped[str]
    html: Mapped[str | None]


class Template(Content, Base):
    """One version of a template, immutable (the database sees to it); the highest one counts."""

    __tablename__ = "communication_templates"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[Id]
    version: Mapped[int] = mapped_column(primary_key=True, default=1)
    name: Mapped[str]
    built_in: Mapped[bool] = mapped_column(default=False)
    author_id: Mapped[UserId | None]
    created_at: Mapped[Timestamp]
    # By language, of the shape of schemas.templates.Parts.
    translations: Mapped[dict[str, dict[str, Any]]] = mapped_column(JSONB, default=dict)
    variables_schema: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


class Notification(Content, Base):
    """What was accepted, rendered: later changes to its template do not reach it."""

    __tablename__ = "communication_notifications"
    __table_args__ = (Index("ix_communication_notifications_sender", "sender_id", "id"),)

    id: Mapped[Id]
    sender_id: Mapped[UserId]
    recipient_id: Mapped[UserId]
    category: Mapped[str]
    template: Mapped[str | None]
    template_version: Mapped[int | None]
    # The same in other languages: which one a recipient reads turns out when it is sent.
    translations: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    send_at: Mapped[datetime | None]
    trace_id: Mapped[str | None]
    created_at: Mapped[Timestamp]
    deliveries: Mapped[list["Delivery"]] = relationship(
        back_populates="notification", order_by="Delivery.channel", lazy="selectin"
    )

    @property
    def channels(self) -> list[str]:
        return [delivery.channel for delivery in self.deliveries]

    @property
    def status(self) -> str:
        found = {delivery.status for delivery in self.deliveries}
        return next(status for status in DELIVERY_STATUSES if status in found)


ENABLED, PAUSED, DISABLED = "enabled", "paused", "disabled"


class WebhookEndpoint(Base):
    """Where a person wants webhooks to go."""

    __tablename__ = "communication_endpoints"
    __table_args__ = (Index("ix_communication_endpoints_owner", "owner_id", "id"),)

    id: Mapped[Id]
    owner_id: Mapped[UserId]
    url: Mapped[str]
    categories: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # None: all
    secret: Mapped[str]
    old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(default=ENABLED)
    reason: Mapped[str | None]  # why it is paused or disabled
    failures: Mapped[int] = mapped_column(default=0)  # in a row
    failing_since: Mapped[datetime | None]
    probe_at: Mapped[datetime | None]  # while it is paused: not before then
    created_at: Mapped[Timestamp]


class Delivery(QueuedJobMixin, Base):
    __tablename__ = "communication_deliveries"
    __table_args__ = (
        UniqueConstraint(
            "notification_id", "channel", "endpoint_id", postgresql_nulls_not_distinct=True
        ),
        Index(
            "ix_communication_deliveries_endpoint",
            "endpoint_id",
            postgresql_where=text("status = 'pending' AND endpoint_id IS NOT NULL"),
        ),
        Index(
            "ix_communication_deliveries_waiting",
            "channel",
            "priority",
            "run_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_communication_deliveries_dead", "id", postgresql_where=text("status = 'dead'")),
        Index(
            "ix_communication_deliveries_running",
            "channel",
            "lease_until",
            postgresql_where=text("status = 'running'"),
        ),
    )

    id: Mapped[Id]
    notification_id: Mapped[UUID] = mapped_column(ForeignKey(Notification.id))
    channel: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger, default=NORMAL)
    endpoint_id: Mapped[UUID | None]  # of a webhook; it may have gone since
    notification: Mapped[Notification] = relationship(back_populates="deliveries")
    endpoint: Mapped["WebhookEndpoint | None"] = relationship(
        primaryjoin="foreign(Delivery.endpoint_id) == Endpoint.id", viewonly=True, lazy="raise"
    )

    queued_at: Mapped[Timestamp]  # when it was due first, or was put back: from here its age counts

    def get_claim_time(self, lease: timedelta) -> datetime:
        """By the database's clock: a worker whose own is days ahead must give nothing up."""
        assert self.lease_until
        return self.lease_until - lease

    def get_age_seconds(self, lease: timedelta) -> float:
        """Seconds from when it was due first, or was put back, to its claim with this lease."""
        return (self.get_claim_time(lease) - self.queued_at).total_seconds()


class DeadLetterOperation(Base):
    """What somebody did with dead letters: kept, for who asks later."""

    __tablename__ = "communication_operations"

    id: Mapped[Id]
    action: Mapped[str]
    actor_id: Mapped[UserId]
    acting_service: Mapped[str | None]
    which: Mapped[dict[str, Any]] = mapped_column(JSONB)
    count: Mapped[int]
    trace_id: Mapped[str | None]
    created_at: Mapped[Timestamp]


class Attempt(Base):
    """Written when a delivery is claimed: one without an end is at work, or its worker died."""

    __tablename__ = "communication_attempts"
    __table_args__ = (UniqueConstraint("delivery_id", "number"),)

    id: Mapped[Id]
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey(Delivery.id))
    number: Mapped[int]  # the fence of its claim
    started_at: Mapped[Timestamp]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    error: Mapped[str | None]
    response: Mapped[str | None]  # the beginning of what the other side answered
    trace_id: Mapped[str | None]
    delivery: Mapped[Delivery] = relationship(lazy="joined")

    @property
    def channel(self) -> str:
        return self.delivery.channel


NOT_ARCHIVED = text("archived_at IS NULL")
UNREAD = text("read_at IS NULL AND archived_at IS NULL")


class Inbox(Base):
    """How far a person's inbox has grown; its lock is what puts the items into an order."""

    __tablename__ = "communication_inboxes"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    newest: Mapped[int] = mapped_column(BigInteger)  # position


class InboxItem(Base):
    """A notification as its recipient finds it; unique per delivery, so it is there once."""

    __tablename__ = "communication_inbox"
    __table_args__ = (
        UniqueConstraint("user_id", "position"),
        Index("ix_communication_inbox_kept", "user_id", "position", postgresql_where=NOT_ARCHIVED),
        Index("ix_communication_inbox_unread", "user_id", "position", postgresql_where=UNREAD),
    )

    id: Mapped[Id]
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey(Delivery.id), unique=True)
    notification_id: Mapped[UUID] = mapped_column(ForeignKey(Notification.id))
    user_id: Mapped[UserId]
    position: Mapped[int] = mapped_column(BigInteger)  # in the inbox, from 1, in order of arrival
    sender_id: Mapped[UserId]
    category: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[Timestamp]
    read_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]


class Preferences(Base):
    """What a person wants; whoever has none wants everything, at any time."""

    __tablename__ = "communication_preferences"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    # Of the shape of schemas.preferences.Wishes.
    wishes: Mapped[dict[str, Any]] = mapped_column(JSONB)
    updated_at: Mapped[Timestamp]


class Suppression(Base):
    """Nothing of the category goes to the person on the channel any more."""

    __tablename__ = "communication_suppressions"
    __table_args__ = (UniqueConstraint("user_id", "channel", "category"),)

    id: Mapped[Id]
    user_id: Mapped[UserId]
    channel: Mapped[str]
    category: Mapped[str]  # * is every one
    reason: Mapped[str]
    author_id: Mapped[UserId | None]  # nobody: the person followed a link in a mail
    created_at: Mapped[Timestamp]


class Throttle(Base):
    """What a person got lately of a category that has a limit; its lock makes the limit exact."""

    __tablename__ = "communication_throttles"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    # When, in seconds since 1970, by notification: one that is tried again counts once.
    recent: Mapped[dict[str, float]] = mapped_column(JSONB, default=dict)
