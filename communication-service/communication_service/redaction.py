"""Deletes the text of security notifications once all their deliveries have ended.

Called wherever the last delivery of a notification may have ended.
"""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import null, select, update
from sqlalchemy.orm import Session

from chassis.job_queue import DEAD, PENDING, RUNNING

from .categories import SECURITY
from .models import Delivery, Notification


def redact_finished(session: Session, notification_ids: Collection[UUID]) -> None:
    """Deletes, for example, the link of a password reset.

    The notifications are locked: of two deliveries that end at the same time, the second sees the
    first.
    """
    if not notification_ids:
        return
    secret = Notification.id.in_(notification_ids) & (Notification.category == SECURITY)
    locked = select(Notification.id).where(secret).order_by(Notification.id).with_for_update()
    if ids := session.scalars(locked).all():
        unfinished = select(Delivery.notification_id).where(
            Delivery.notification_id.in_(ids), Delivery.status.in_((PENDING, RUNNING, DEAD))
        )
        is_over = Notification.id.in_(ids) & Notification.id.not_in(unfinished)
        session.execute(
            update(Notification).where(is_over).values(body="", html=None, translations=null()),
            execution_options={"synchronize_session": False},
        )
