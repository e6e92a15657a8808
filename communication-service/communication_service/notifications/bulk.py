"""One notification for many: each recipient gets it once, and none suffers for another."""

from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Forbidden, Unprocessable

from ..models import SUPPRESSED, Notification, Template
from ..redaction import redact_finished
from ..schemas.notifications import BulkCreate, BulkRecipient, NotificationCreate
from .service import (
    SEND_MANDATORY_PERMISSION,
    EndpointsByOwner,
    build_notification,
    can_send_mandatory,
    check_channels_configured,
    check_mandatory_permission,
    find_endpoints,
    find_template,
)

MAX_RENDER_SECONDS = 10.0  # of rendering; a template that is that slow is tried on fewer people
MAX_TOTAL_CHARACTERS = 10_000_000  # of all the bodies together
TOO_LONG_MESSAGE = (
    f"are too many for what is said: together at most {MAX_TOTAL_CHARACTERS:,} characters"
)


def accept_bulk(session: Session, sender: User, new: BulkCreate) -> dict[str, Any]:
    """All that is accepted is accepted together."""
    check_mandatory_permission(sender, new.category)
    check_urgent_permission(sender, new)
    check_channels_configured(new.channels)
    template, until = find_template(session, new), monotonic() + MAX_RENDER_SECONDS
    people = {str(recipient.recipient_id) for recipient in new.recipients}
    endpoints = find_endpoints(session, new, people)
    made: dict[UUID, Notification] = {}
    left = MAX_TOTAL_CHARACTERS
    items = []
    for recipient in new.recipients:
        if recipient.recipient_id in made:
            items.append(build_item(recipient, "duplicate", made[recipient.recipient_id]))
            continue
        try:
            notification = build_for_recipient(sender, new, recipient, template, endpoints, until)
        except Unprocessable as error:
            items.append({**build_item(recipient, "refused"), "error": error.message})
        else:
            left -= count_characters(notification)
            if left < 0:
                raise Unprocessable.for_field("recipients", TOO_LONG_MESSAGE)
            made[recipient.recipient_id] = notification
            items.append(build_item(recipient, "accepted", notification))
    session.add_all(made.values())
    session.flush()
    redact_finished(
        session, [made_one.id for made_one in made.values() if made_one.status == SUPPRESSED]
    )
    for item in items:
        item["notification_id"] = item["notification"] and item["notification"].id
    return {"accepted": len(made), "items": items}


def check_urgent_permission(sender: User, new: BulkCreate) -> None:
    """What is urgent passes quiet hours and every backlog: not for a thousand people at once."""
    if new.priority == "urgent" and not can_send_mandatory(sender):
        raise Forbidden(
            f"To send to many what is urgent needs the permission {SEND_MANDATORY_PERMISSION}"
        )


def count_characters(notification: Notification) -> int:
    """Of what is stored for one recipient, in characters."""
    words = [notification.body, notification.html or ""]
    for parts in (notification.translations or {}).values():
        words += [parts["body"], parts["html"] or ""]
    return sum(map(len, words))


def build_for_recipient(
    sender: User,
    new: BulkCreate,
    recipient: BulkRecipient,
    template: Template | None,
    endpoints: EndpointsByOwner,
    until: float,
) -> Notification:
    if monotonic() > until:
        raise Unprocessable("The template takes too long for so many recipients")
    shared = {name: value for name, value in new if name not in ("recipients", "variables")}
    variables = {**new.variables, **recipient.variables}
    one = NotificationCreate.model_construct(
        **shared, recipient_id=recipient.recipient_id, variables=variables
    )
    return build_notification(sender, one, template, endpoints)


def build_item(
    recipient: BulkRecipient, status: str, notification: Notification | None = None
) -> dict[str, Any]:
    person = recipient.recipient_id
    return {"recipient_id": person, "status": status, "notification": notification}
