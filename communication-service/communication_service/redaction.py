"""Deletes the text of security notifications once all their deliveries have ended."""

from collections.abc import Collection, Iterable
from uuid import UUID

from sqlalchemy import null, select, update
from sqlalchemy.orm import Session

from chassis.job_queue import DEAD, PENDING, RUNNING

from .categories import SECURITY
from .models import Delivery, Notification


def redact_finished(session: Session, notification_ids: Collection[UUID]) -> None:
    """Deletes, for example, the link of a password reset; call it after any delivery has ended."""
    if not notification_ids:
        return
    secret = Notification.id.in_(notification_ids) & (Notification.category == SECURITY)
    # Locked: of two deliveries that end at the same time, the second sees the first.
    locked = select(Notification.id).where(secret).order_by(Notification.id).with_for_update()
    if ids := session.scalars(locked).all():
        is_open = Delivery.status.in_((PENDING, RUNNING, DEAD))
        notification_id = Delivery.notification_id
        unfinished = select(notification_id).where(notification_id.in_(ids), is_open)
        is_over = Notification.id.in_(ids) & Notification.id.not_in(unfinished)
        empty = {"body": "", "html": None, "translations": null()}
        redacted = update(Notification).where(is_over).values(empty)
        session.execute(redacted.execution_options(synchronize_session=False))


def redact_secrets(session: Session, deliveries: Iterable[Delivery]) -> None:
    notifications = [delivery.notification for delivery in deliveries]
    redact_finished(session, {each.id for each in notifications if each.category == SECURITY})
