"""The tables. A delivery is one notification on one channel: a row of the queue of record."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text, types
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship
from uuid_utils.compat import uuid7

from chassis.clock import now
from chassis.idempotency import define_keys_table
from chassis.job_queue import DEAD, PENDING, RUNNING, QueuedJobMixin

from .database import Base

DELIVERED, SUPPRESSED, CANCELLED = "delivered", "suppressed", "cancelled"
DELIVERY_STATUSES = (RUNNING, PENDING, DEAD, DELIVERED, SUPPRESSED, CANCELLED)
"""Statuses of a delivery; a notification has the first of these that one of its deliveries has."""

URGENT, NORMAL, BULK = PRIORITIES = (0, 1, 2)
"""Priorities of a delivery; a worker claims urgent ones first, whatever else is due."""

NOT_ARRIVED_OUTCOMES = ("failed", "rejected")
"""Outcomes of an attempt that prove that the recipient got nothing."""

Id = Annotated[UUID, mapped_column(primary_key=True, default=uuid7)]
# Users are in identity's database. Here they are an id as text, as tokens carry it.
UserId = Annotated[str, mapped_column(types.Uuid(as_uuid=False))]
Timestamp = Annotated[datetime, mapped_column(default=now)]

idempotency_keys = define_keys_table(Base.metadata)


class Content:
    """Holds a text. Emails show `html` where they can; every other channel shows `body`."""

    subject: Mapped[str]
    body: Mapped[str]
    html: Mapped[str | None]


class Template(Content, Base):
    """Holds one version of a template; a trigger keeps it immutable. The highest one is current."""

    __tablename__ = "communication_templates"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[Id]
    version: Mapped[int] = mapped_column(primary_key=True, default=1)
    name: Mapped[str]
    built_in: Mapped[bool] = mapped_column(default=False)
    author_id: Mapped[UserId | None]
    created_at: Mapped[Timestamp]
    # By language; the values are schemas.templates.TemplateParts.
    translations: Mapped[dict[str, dict[str, Any]]] = mapped_column(JSONB, default=dict)
    variables_schema: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


class Notification(Content, Base):
    """Holds an accepted notification, already rendered: template changes do not affect it."""

    __tablename__ = "communication_notifications"
    __table_args__ = (Index("ix_communication_notifications_sender", "sender_id", "id"),)

    id: Mapped[Id]
    sender_id: Mapped[UserId]
    recipient_id: Mapped[UserId]
    category: Mapped[str]
    template: Mapped[str | None]
    template_version: Mapped[int | None]
    # The text in other languages; the recipient's language is looked up at send time.
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
        statuses = {delivery.status for delivery in self.deliveries}
        return min(statuses, key=DELIVERY_STATUSES.index)


ENABLED, PAUSED, DISABLED = "enabled", "paused", "disabled"


class WebhookEndpoint(Base):
    """Holds where a user wants webhooks to be sent."""

    __tablename__ = "communication_endpoints"
    __table_args__ = (Index("ix_communication_endpoints_owner", "owner_id", "id"),)

    id: Mapped[Id]
    owner_id: Mapped[UserId]
    url: Mapped[str]
    categories: Mapped[list[str] | None] = mapped_column(types.ARRAY(types.Text))  # None means all
    secret: Mapped[str]
    old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(default=ENABLED)
    reason: Mapped[str | None]  # why the endpoint is paused or disabled
    failures: Mapped[int] = mapped_column(default=0)  # in a row
    failing_since: Mapped[datetime | None]
    probe_at: Mapped[datetime | None]  # when a paused endpoint may be tried again
    created_at: Mapped[Timestamp]

    def reset_health(self) -> None:
        self.failures = 0
        self.failing_since = None
        self.probe_at = None


IS_PENDING: dict[str, Any] = {"postgresql_where": text("status = 'pending'")}
IS_RUNNING: dict[str, Any] = {"postgresql_where": text("status = 'running'")}


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
        Index("ix_communication_deliveries_waiting", "channel", "priority", "run_at", **IS_PENDING),
        Index("ix_communication_deliveries_dead", "id", postgresql_where=text("status = 'dead'")),
        Index("ix_communication_deliveries_running", "channel", "lease_until", **IS_RUNNING),
    )

    id: Mapped[Id]
    notification_id: Mapped[UUID] = mapped_column(ForeignKey(Notification.id))
    channel: Mapped[str]
    priority: Mapped[int] = mapped_column(types.SmallInteger, default=NORMAL)
    endpoint_id: Mapped[UUID | None]  # of a webhook; the endpoint may be deleted
    notification: Mapped[Notification] = relationship(back_populates="deliveries")
    endpoint: Mapped["WebhookEndpoint | None"] = relationship(
        primaryjoin="foreign(Delivery.endpoint_id)==WebhookEndpoint.id", viewonly=True, lazy="raise"
    )
    queued_at: Mapped[Timestamp]  # when it was first due, or replayed: its age starts here

    def get_claim_time(self, lease: timedelta) -> datetime:
        """Returns the time of the claim by the database's clock; a worker's may be wrong."""
        assert self.lease_until
        return self.lease_until - lease

    def get_age_seconds(self, lease: timedelta) -> float:
        """Returns the seconds from `queued_at` to the claim."""
        return (self.get_claim_time(lease) - self.queued_at).total_seconds()


class DeadLetterOperation(Base):
    """Records who replayed or purged dead letters, for audits."""

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
    """Records an attempt from its claim on; without an end, it is running or its worker crashed."""

    __tablename__ = "communication_attempts"
    __table_args__ = (UniqueConstraint("delivery_id", "number"),)

    id: Mapped[Id]
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey(Delivery.id))
    number: Mapped[int]  # the fencing token of its claim
    started_at: Mapped[Timestamp]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    error: Mapped[str | None]
    response: Mapped[str | None]  # the beginning of the other side's response
    trace_id: Mapped[str | None]
    delivery: Mapped[Delivery] = relationship(lazy="joined")

    @property
    def channel(self) -> str:
        return self.delivery.channel


NOT_ARCHIVED = text("archived_at IS NULL")
UNREAD = text("read_at IS NULL AND archived_at IS NULL")


class Inbox(Base):
    """Holds the newest position in a user's inbox; its row lock orders new items."""

    __tablename__ = "communication_inboxes"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    newest: Mapped[int] = mapped_column(types.BigInteger)  # the position of the newest item


class InboxItem(Base):
    """Holds a notification in its recipient's inbox; unique per delivery, so it appears once."""

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
    position: Mapped[int] = mapped_column(types.BigInteger)  # from 1, in order of arrival
    sender_id: Mapped[UserId]
    category: Mapped[str]
    subject: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[Timestamp]
    read_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]


class Preferences(Base):
    """Holds a user's preferences. Without a row, everything is sent at any time."""

    __tablename__ = "communication_preferences"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    # A schemas.preferences.NotificationPreferences.
    preferences: Mapped[dict[str, Any]] = mapped_column(JSONB)
    updated_at: Mapped[Timestamp]


class Suppression(Base):
    """Stops everything of a category to a user on a channel."""

    __tablename__ = "communication_suppressions"
    __table_args__ = (UniqueConstraint("user_id", "channel", "category"),)

    id: Mapped[Id]
    user_id: Mapped[UserId]
    channel: Mapped[str]
    category: Mapped[str]  # * means every category
    reason: Mapped[str]
    author_id: Mapped[UserId | None]  # None: the user unsubscribed by link
    created_at: Mapped[Timestamp]


class Throttle(Base):
    """Counts what a user got of a rate-limited category; its row lock makes the limit exact."""

    __tablename__ = "communication_throttles"

    user_id: Mapped[UserId] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    # Unix time by notification id, so that a retry counts once.
    recent: Mapped[dict[str, float]] = mapped_column(JSONB, default=dict)
