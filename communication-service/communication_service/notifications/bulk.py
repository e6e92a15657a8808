"""Sends one notification to many recipients: each gets it once, and errors stay with one."""

from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Forbidden, Unprocessable

from ..models import SUPPRESSED, Notification, Template
from ..redaction import redact_finished
from ..schemas.notifications import (
    BulkNotificationCreate,
    BulkNotificationResult,
    BulkRecipientResult,
    NotificationCreate,
)
from ..settings import Settings
from ..webhook_endpoints import EndpointsByOwner
from . import service

MAX_RENDER_SECONDS = 10.0  # for all recipients together
MAX_TOTAL_CHARACTERS = 10_000_000  # of all bodies together
TOO_SLOW_MESSAGE = "The template takes too long for so many recipients; send to fewer at a time"
TOO_LONG_MESSAGE = f"are too many for such long texts: {MAX_TOTAL_CHARACTERS:,} characters at most"


class UrgentBulk(Forbidden):
    """Raised when the caller may not send urgent notifications to many recipients."""


def accept_bulk(
    session: Session, sender: User, new: BulkNotificationCreate, settings: Settings
) -> BulkNotificationResult:
    """Saves the notifications in one transaction, and returns a result for each recipient."""
    service.check_mandatory_permission(sender, new.category, settings)
    check_urgent_permission(sender, new)
    service.check_channels_configured(new.channels, settings)
    template = service.find_template(session, new)
    recipient_ids = {str(recipient.recipient_id) for recipient in new.recipients}
    endpoints = service.find_endpoints(session, new, recipient_ids)
    accepted, items = build_notifications(sender, new, template, endpoints)
    session.add_all(accepted.values())
    session.flush()
    suppressed = [each.id for each in accepted.values() if each.status == SUPPRESSED]
    redact_finished(session, suppressed)
    for item in items:
        if item.status != "refused":
            item.notification_id = accepted[item.recipient_id].id
    return BulkNotificationResult(accepted=len(accepted), items=items)


def build_notifications(
    sender: User,
    new: BulkNotificationCreate,
    template: Template | None,
    endpoints: EndpointsByOwner,
) -> tuple[dict[UUID, Notification], list[BulkRecipientResult]]:
    """Returns the notification of each accepted recipient, and a result for every one."""
    deadline = monotonic() + MAX_RENDER_SECONDS
    accepted: dict[UUID, Notification] = {}
    items: list[BulkRecipientResult] = []
    characters = 0
    shared = {name: value for name, value in new if name not in ("recipients", "variables")}
    for recipient in new.recipients:
        user_id = recipient.recipient_id
        if user_id in accepted:
            items.append(BulkRecipientResult(recipient_id=user_id, status="duplicate"))
            continue
        if monotonic() > deadline:
            items.append(
                BulkRecipientResult(recipient_id=user_id, status="refused", error=TOO_SLOW_MESSAGE)
            )
            continue
        try:
            # What this recipient would get in a request of its own; it is validated already.
            variables = {**new.variables, **recipient.variables}
            own: dict[str, Any] = {"recipient_id": user_id, "variables": variables}
            one = NotificationCreate.model_construct(**shared, **own)
            notification = service.build_notification(sender, one, template, endpoints)
        except Unprocessable as error:
            items.append(
                BulkRecipientResult(recipient_id=user_id, status="refused", error=error.message)
            )
            continue
        characters += count_characters(notification)
        if characters > MAX_TOTAL_CHARACTERS:
            raise Unprocessable.for_field("recipients", TOO_LONG_MESSAGE)
        accepted[user_id] = notification
        items.append(BulkRecipientResult(recipient_id=user_id, status="accepted"))
    return accepted, items


def check_urgent_permission(sender: User, new: BulkNotificationCreate) -> None:
    """Refuses urgent bulk messages from most senders, as they skip quiet hours and backlogs."""
    if new.priority == "urgent" and not service.can_send_mandatory(sender):
        raise UrgentBulk(
            "Sending urgent notifications in bulk needs the permission"
            f" {service.SEND_MANDATORY_PERMISSION}; the priority normal does not"
        )


def count_characters(notification: Notification) -> int:
    """Counts what is stored for one recipient, translations included."""
    texts = [notification.body, notification.html or ""]
    for parts in (notification.translations or {}).values():
        texts += [parts["body"], parts["html"] or ""]
    return sum(map(len, texts))
