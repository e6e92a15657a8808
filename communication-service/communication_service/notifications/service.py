"""What a sender can do: have a notification accepted, follow it, cancel it, try it again."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Conflict, Forbidden, NotFound, Unprocessable
from chassis.job_queue import DEAD, PENDING, is_due
from chassis.pagination import PageParameters, paginate
from chassis.tracing import get_trace_id

from ..delivery.attempts import NOT_ARRIVED_OUTCOMES
from ..models import (
    BULK,
    CANCELLED,
    DELIVERY_STATUSES,
    NORMAL,
    SUPPRESSED,
    URGENT,
    Attempt,
    Delivery,
    Notification,
    Template,
    WebhookEndpoint,
)
from ..redaction import redact_finished
from ..schemas.dead_letters import DeadLetterFilter
from ..schemas.fields import SECURITY
from ..schemas.notifications import NotificationBase, NotificationCreate
from ..settings import settings
from ..templates.service import get_template_by_name, render_languages
from ..webhook_endpoints import find_by_owner
from .dead_letters import record_operation

PRIORITY_BY_NAME = {"urgent": URGENT, "normal": NORMAL, "bulk": BULK}
SEND_MANDATORY_PERMISSION = (
    "notifications:mandatory"  # given to no role either: services may, and *
)
READ_ALL_PERMISSION = "notifications:all"  # given to no role: only a permission of * holds it
READ_QUEUE_PERMISSION = "queue:read"

EndpointsByOwner = Mapping[str, Sequence[WebhookEndpoint]]
"""By the id of their owner."""


class UnknownNotification(NotFound):
    """There is none, or the caller did not send it."""


class UnknownDelivery(NotFound):
    """There is none, or the caller neither sent it nor looks after what is dead."""


class NothingToCancel(Conflict):
    """Every delivery of the notification is at work or over."""


class MayHaveArrived(Conflict):
    """What waits was sent before without an answer: to say "cancelled" could be wrong."""


class NothingToRetry(Conflict):
    """No delivery of the notification is dead."""


def accept_notification(session: Session, sender: User, new: NotificationCreate) -> Notification:
    """Once this is committed, it will be sent: the deliveries are the queue of record."""
    check_mandatory_permission(sender, new.category)
    check_channels_configured(new.channels)
    endpoints = find_endpoints(session, new, [str(new.recipient_id)])
    notification = build_notification(sender, new, find_template(session, new), endpoints)
    session.add(notification)
    session.flush()
    if notification.status == SUPPRESSED:
        redact_finished(session, [notification.id])
    return notification


def find_endpoints(
    session: Session, new: NotificationBase, people: Collection[str]
) -> EndpointsByOwner:
    return find_by_owner(session, people, new.category) if "webhook" in new.channels else {}


def build_notification(
    sender: User, new: NotificationCreate, template: Template | None, endpoints: EndpointsByOwner
) -> Notification:
    # Now by the database's clock, which the claim goes by, so that it is due at once.
    run_at = new.send_at or func.now()
    priority = URGENT if new.category == SECURITY else PRIORITY_BY_NAME[new.priority]
    queued: dict[str, Any] = {"run_at": run_at, "queued_at": run_at, "priority": priority}
    return Notification(
        sender_id=sender.user_id,
        recipient_id=str(new.recipient_id),
        category=new.category,
        send_at=new.send_at,
        trace_id=get_trace_id(),
        deliveries=[
            delivery
            for channel in sorted(new.channels)
            for delivery in build_deliveries(channel, endpoints.get(str(new.recipient_id)), queued)
        ],
        **render_content(new, template),
    )


def build_deliveries(
    channel: str, found: Sequence[WebhookEndpoint] | None, queued: dict[str, Any]
) -> list[Delivery]:
    """One, or for webhooks one for each endpoint that the recipient has."""
    if channel != "webhook":
        return [Delivery(channel=channel, **queued)]
    if not found:
        why = "The recipient has no webhook endpoint for this category"
        return [Delivery(channel=channel, **queued, status=SUPPRESSED, last_error=why)]
    return [Delivery(channel=channel, **queued, endpoint_id=endpoint.id) for endpoint in found]


def notify_user(session: Session, user_id: str, subject: str, body: str) -> None:
    """What this service itself has to say to somebody."""
    queued = {"run_at": func.now(), "queued_at": func.now()}
    session.add(
        Notification(
            sender_id=user_id,
            recipient_id=user_id,
            category="webhooks",
            trace_id=get_trace_id(),
            subject=subject,
            body=body,
            deliveries=[Delivery(channel=channel, **queued) for channel in ("email", "in_app")],
        )
    )


def check_mandatory_permission(sender: User, category: str) -> None:
    """What nobody can turn off is not for everybody to send."""
    if category in settings.mandatory_categories and not can_send_mandatory(sender):
        raise Forbidden(
            f"Mail of the category {category} needs the permission {SEND_MANDATORY_PERMISSION}"
        )


def can_send_mandatory(sender: User) -> bool:
    return sender.is_service or sender.has_permission(SEND_MANDATORY_PERMISSION)


def check_channels_configured(channels: Collection[str]) -> None:
    if "sms" in channels and not settings.sms_account_sid:
        raise Unprocessable.for_field("channels", "sms has no provider here: see SMS_ACCOUNT_SID")


def find_template(session: Session, new: NotificationBase) -> Template | None:
    if new.template is None:
        return None
    template = get_template_by_name(session, new.template)
    if template is None:
        raise Unprocessable.for_field("template", f"there is no template named {new.template}")
    return template


def render_content(new: NotificationCreate, template: Template | None) -> dict[str, Any]:
    """Rendered now: whoever sends learns of a mistake now, and what is accepted stays as it is."""
    if template is None:
        return {"subject": new.subject, "body": new.body}
    words = render_languages(template, new.variables)
    return {
        "template": template.name,
        "template_version": template.version,
        **words.pop(None).model_dump(),
        "translations": {tag: rendered.model_dump() for tag, rendered in words.items()} or None,
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


def list_attempts(session: Session, user: User, notification_id: UUID) -> dict[str, Any]:
    notification = get_notification(session, user, notification_id)
    return get_attempts(session, *notification.deliveries)


def list_delivery_attempts(session: Session, user: User, delivery_id: UUID) -> dict[str, Any]:
    delivery = session.get(Delivery, delivery_id)
    may_inspect = (
        delivery and delivery.status == DEAD and user.has_permission(READ_QUEUE_PERMISSION)
    )
    if delivery is None or not (may_inspect or can_read(user, delivery.notification)):
        raise UnknownDelivery("There is no such delivery")
    return get_attempts(session, delivery)


def get_attempts(session: Session, *deliveries: Delivery) -> dict[str, Any]:
    ids = [delivery.id for delivery in deliveries]
    attempts = select(Attempt).where(Attempt.delivery_id.in_(ids)).order_by(Attempt.id)
    return {"items": session.scalars(attempts).all()}


def cancel_notification(session: Session, user: User, notification_id: UUID) -> Notification:
    """Stops what cannot have arrived: a delivery is either cancelled or made, never both."""
    notification = get_notification(session, user, notification_id)
    waiting = lock_deliveries(session, notification, PENDING)
    if not waiting:
        raise NothingToCancel("Nothing of this notification is waiting to be sent")
    unclear = find_possibly_arrived(session, waiting)
    if len(unclear) == len(waiting):
        raise MayHaveArrived("It was sent before without an answer, and may have arrived")
    for delivery in waiting:
        if delivery.id not in unclear:
            delivery.status = CANCELLED
    session.flush()
    redact_finished(session, [notification.id])
    return notification


def find_possibly_arrived(session: Session, deliveries: Sequence[Delivery]) -> set[UUID]:
    """To be asked under their locks: a worker's word on an attempt comes with its delivery's."""
    ids = [delivery.id for delivery in deliveries]
    is_unclear = or_(Attempt.outcome.is_(None), Attempt.outcome.not_in(NOT_ARRIVED_OUTCOMES))
    tried = select(Attempt.delivery_id).where(Attempt.delivery_id.in_(ids), is_unclear)
    return set(session.scalars(tried))


def retry_notification(session: Session, user: User, notification_id: UUID) -> Notification:
    """Puts dead deliveries back into the queue, with as many attempts as new ones have."""
    notification = get_notification(session, user, notification_id)
    dead = lock_deliveries(session, notification, DEAD)
    if not dead:
        raise NothingToRetry("No delivery of this notification is dead")
    for delivery in dead:
        delivery.status, delivery.attempts, delivery.last_error = PENDING, 0, None
        delivery.run_at = delivery.queued_at = func.now()
    which = DeadLetterFilter(delivery_ids=[delivery.id for delivery in dead])
    record_operation(session, user, "replay", which, len(dead))
    return notification


def lock_deliveries(
    session: Session, notification: Notification, status: str
) -> Sequence[Delivery]:
    statement = (
        select(Delivery)
        .where(Delivery.notification_id == notification.id, Delivery.status == status)
        .order_by(Delivery.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return session.scalars(statement).all()


def get_queue_status(session: Session) -> dict[str, Any]:
    counted = select(Delivery.status, func.count()).group_by(Delivery.status)
    counts = {status: count for status, count in session.execute(counted)}
    late = select(func.count(), func.min(Delivery.run_at)).where(is_due(Delivery))
    due, oldest = session.execute(late).one()
    deliveries = {status: counts.get(status, 0) for status in DELIVERY_STATUSES}
    accepted = sum(counts.values())
    return {"accepted": accepted, "deliveries": deliveries, "due": due, "oldest_due_at": oldest}
