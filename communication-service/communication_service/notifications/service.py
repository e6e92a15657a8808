"""What a sender can do: send a notification, follow it, cancel it, retry it."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, Forbidden, NotFound, Unprocessable
from chassis.job_queue import DEAD, PENDING, is_due
from chassis.pagination import PageParameters, paginate
from chassis.tracing import get_trace_id

from .. import models
from ..categories import SECURITY
from ..models import Attempt, Delivery, Notification, Template, WebhookEndpoint
from ..redaction import redact_finished
from ..schemas.dead_letters import DeadLetterFilter
from ..schemas.notifications import AttemptList, NotificationBase, NotificationCreate, QueueStatus
from ..settings import Settings
from ..templates.service import get_template_by_name, render_languages
from ..webhook_endpoints import EndpointsByOwner, find_by_owner
from .dead_letters import record_operation

PRIORITY_BY_NAME = {"urgent": models.URGENT, "normal": models.NORMAL, "bulk": models.BULK}
READ_QUEUE_PERMISSION = "queue:read"
# No role has these two: services may send mandatory notifications, and "*" includes both.
SEND_MANDATORY_PERMISSION = "notifications:mandatory"
READ_ALL_PERMISSION = "notifications:all"


class UnknownNotification(NotFound):
    """Raised when the notification does not exist or someone else sent it."""


class UnknownDelivery(NotFound):
    """Raised when the delivery does not exist or the caller may not see it."""


class MandatoryCategory(Forbidden):
    """Raised when recipients cannot turn off the category: sending it needs a permission."""


class NothingToCancel(Conflict):
    """Raised when every delivery of the notification is running or finished."""


class MayHaveArrived(Conflict):
    """Raised when an earlier attempt got no answer, so that "cancelled" could be wrong."""


class NothingToRetry(Conflict):
    """Raised when no delivery of the notification is dead."""


def accept_notification(
    session: Session, sender: User, new: NotificationCreate, settings: Settings
) -> Notification:
    """Saves the notification and its deliveries, which are the queue of record."""
    check_mandatory_permission(sender, new.category, settings)
    check_channels_configured(new.channels, settings)
    endpoints = find_endpoints(session, new, {str(new.recipient_id)})
    notification = build_notification(sender, new, find_template(session, new), endpoints)
    session.add(notification)
    session.flush()
    if notification.status == models.SUPPRESSED:
        redact_finished(session, [notification.id])
    return notification


def find_endpoints(session: Session, new: NotificationBase, user_ids: set[str]) -> EndpointsByOwner:
    has_webhook = "webhook" in new.channels
    return find_by_owner(session, user_ids, new.category) if has_webhook else {}


def build_notification(
    sender: User, new: NotificationCreate, template: Template | None, endpoints: EndpointsByOwner
) -> Notification:
    # The database's clock, which claims go by, so that the deliveries are due at once.
    run_at = new.send_at or func.now()
    priority = models.URGENT if new.category == SECURITY else PRIORITY_BY_NAME[new.priority]
    queued: dict[str, Any] = {"run_at": run_at, "queued_at": run_at, "priority": priority}
    recipient_id = str(new.recipient_id)
    deliveries: list[Delivery] = []
    for channel in sorted(new.channels):
        deliveries += build_deliveries(channel, endpoints.get(recipient_id), queued)
    return Notification(
        sender_id=sender.user_id,
        recipient_id=recipient_id,
        category=new.category,
        send_at=new.send_at,
        trace_id=get_trace_id(),
        deliveries=deliveries,
        **render_content(new, template),
    )


def build_deliveries(
    channel: str, endpoints: Sequence[WebhookEndpoint] | None, queued: dict[str, Any]
) -> list[Delivery]:
    """Returns one delivery; for webhooks, one for each endpoint of the recipient."""
    if channel != "webhook":
        return [Delivery(channel=channel, **queued)]
    if not endpoints:
        reason = "The recipient has no webhook endpoint for this category"
        return [Delivery(channel=channel, **queued, status=models.SUPPRESSED, last_error=reason)]
    return [Delivery(channel=channel, **queued, endpoint_id=each.id) for each in endpoints]


def notify_user(session: Session, user_id: str, subject: str, body: str) -> None:
    """Sends a message of this service itself, by mail and to the inbox."""
    users = {"sender_id": user_id, "recipient_id": user_id}
    text = {"category": "webhooks", "subject": subject, "body": body}
    queued = {"run_at": func.now(), "queued_at": func.now()}
    deliveries = [Delivery(channel=channel, **queued) for channel in ("email", "in_app")]
    session.add(Notification(**users, **text, trace_id=get_trace_id(), deliveries=deliveries))


def check_mandatory_permission(sender: User, category: str, settings: Settings) -> None:
    """Refuses categories that recipients cannot turn off, except from trusted senders."""
    if category in settings.mandatory_categories and not can_send_mandatory(sender):
        raise MandatoryCategory(
            f"Recipients cannot turn off the category {category};"
            f" sending it needs the permission {SEND_MANDATORY_PERMISSION}"
        )


def can_send_mandatory(sender: User) -> bool:
    return sender.is_service or sender.has_permission(SEND_MANDATORY_PERMISSION)


def check_channels_configured(channels: Collection[str], settings: Settings) -> None:
    if "sms" in channels and not settings.sms_account_sid:
        message = "SMS is not configured here; an administrator can set SMS_ACCOUNT_SID"
        raise Unprocessable.for_field("channels", message)


def find_template(session: Session, new: NotificationBase) -> Template | None:
    """Returns None when the notification names no template; raises when it does not exist."""
    if new.template is None:
        return None
    template = get_template_by_name(session, new.template)
    if template is None:
        raise Unprocessable.for_field("template", f"there is no template named {new.template}")
    return template


def render_content(new: NotificationCreate, template: Template | None) -> dict[str, Any]:
    """Renders now, so that the sender learns of a mistake and later versions change nothing."""
    if template is None:
        return {"subject": new.subject, "body": new.body}
    texts = render_languages(template, new.variables)
    return {
        "template": template.name,
        "template_version": template.version,
        **texts.pop(None).model_dump(),
        "translations": {tag: text.model_dump() for tag, text in texts.items()} or None,
    }


def list_notifications(session: Session, sender: User, page: PageParameters) -> dict[str, Any]:
    sent = select(Notification).where(Notification.sender_id == sender.user_id)
    return paginate(session, sent, page, Notification.id)


def get_notification(session: Session, user: User, notification_id: UUID) -> Notification:
    notification = session.get(Notification, notification_id)
    if notification is None or not can_read(user, notification):
        raise UnknownNotification("There is no such notification")
    return notification


def can_read(user: User, notification: Notification) -> bool:
    return notification.sender_id == user.user_id or user.has_permission(READ_ALL_PERMISSION)


def list_attempts(session: Session, user: User, notification_id: UUID) -> AttemptList:
    notification = get_notification(session, user, notification_id)
    return get_attempts(session, notification.deliveries)


def list_delivery_attempts(session: Session, user: User, delivery_id: UUID) -> AttemptList:
    """Lists them for the sender; of a dead delivery, also for operators."""
    delivery = session.get(Delivery, delivery_id)
    is_dead_letter = delivery is not None and delivery.status == DEAD
    can_inspect = is_dead_letter and user.has_permission(READ_QUEUE_PERMISSION)
    if delivery is None or not (can_inspect or can_read(user, delivery.notification)):
        raise UnknownDelivery("There is no such delivery")
    return get_attempts(session, [delivery])


def get_attempts(session: Session, deliveries: Sequence[Delivery]) -> AttemptList:
    ids = [delivery.id for delivery in deliveries]
    attempts = select(Attempt).where(Attempt.delivery_id.in_(ids)).order_by(Attempt.id)
    return AttemptList.model_validate({"items": session.scalars(attempts).all()})


def cancel_notification(session: Session, user: User, notification_id: UUID) -> Notification:
    """Cancels the deliveries that cannot have arrived; each is either cancelled or made."""
    notification = get_notification(session, user, notification_id)
    pending = lock_deliveries(session, notification, PENDING)
    if not pending:
        raise NothingToCancel("Nothing of this notification is waiting to be sent")
    possibly_arrived = find_possibly_arrived(session, pending)
    if len(possibly_arrived) == len(pending):
        raise MayHaveArrived("An earlier attempt got no answer, so it may have arrived already")
    for delivery in pending:
        if delivery.id not in possibly_arrived:
            delivery.status = models.CANCELLED
    session.flush()
    redact_finished(session, [notification.id])
    return notification


def find_possibly_arrived(session: Session, deliveries: Sequence[Delivery]) -> set[UUID]:
    """Returns which of these locked deliveries have an attempt whose outcome is unknown."""
    ids = [delivery.id for delivery in deliveries]
    is_unclear = or_(Attempt.outcome.is_(None), Attempt.outcome.not_in(models.NOT_ARRIVED_OUTCOMES))
    tried = select(Attempt.delivery_id).where(Attempt.delivery_id.in_(ids), is_unclear)
    return set(session.scalars(tried))


def retry_notification(session: Session, user: User, notification_id: UUID) -> Notification:
    """Puts dead deliveries back into the queue, with as many attempts as new ones have."""
    notification = get_notification(session, user, notification_id)
    dead = lock_deliveries(session, notification, DEAD)
    if not dead:
        raise NothingToRetry("No delivery of this notification is dead")
    for delivery in dead:
        delivery.status = PENDING
        delivery.attempts = 0
        delivery.last_error = None
        delivery.run_at = delivery.queued_at = func.now()
    retried = DeadLetterFilter(delivery_ids=[delivery.id for delivery in dead])
    record_operation(session, user, "replay", retried, len(dead))
    return notification


def lock_deliveries(session: Session, notification: Notification, status: str) -> list[Delivery]:
    is_meant = (Delivery.notification_id == notification.id) & (Delivery.status == status)
    locked = select(Delivery).where(is_meant).order_by(Delivery.id).with_for_update()
    return list(session.scalars(locked.execution_options(populate_existing=True)))


def get_queue_status(session: Session) -> QueueStatus:
    counted = select(Delivery.status, func.count()).group_by(Delivery.status)
    counts = {status: count for status, count in session.execute(counted)}
    late = select(func.count(), func.min(Delivery.run_at)).where(is_due(Delivery))
    due, oldest = session.execute(late).one()
    by_status = {status: counts.get(status, 0) for status in models.DELIVERY_STATUSES}
    total = sum(counts.values())
    return QueueStatus(accepted=total, deliveries=by_status, due=due, oldest_due_at=oldest)
