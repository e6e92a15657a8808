"""One notification for many: each recipient gets it once, and none suffers for another."""

from time import monotonic
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from chassis.auth import User
from chassis.errors import Forbidden, Unprocessable

from ..models import SUPPRESSED, Notification, Template
from ..redaction import erase
from ..schemas.notifications import BulkCreate, BulkRecipient, NotificationCreate
from .service import (
    MANDATORY,
    Endpoints,
    endpoints_for,
    may_force,
    prepare,
    refuse_to_force,
    refuse_what_is_off,
    template_for,
)

MOST_SECONDS = 10.0  # of rendering; a template that is that slow is tried on fewer people
MOST_CHARACTERS = 10_000_000  # of all the bodies together
TOO_LONG = f"are too many for what is said: together at most {MOST_CHARACTERS:,} characters"


def accept_all(session: Session, sender: User, new: BulkCreate) -> dict[str, Any]:
    """All that is accepted is accepted together."""
    refuse_to_force(sender, new.category)
    refuse_to_hurry(sender, new)
    refuse_what_is_off(new.channels)
    template, until = template_for(session, new), monotonic() + MOST_SECONDS
    people = {str(recipient.recipient_id) for recipient in new.recipients}
    endpoints = endpoints_for(session, new, people)
    made: dict[UUID, Notification] = {}
    left = MOST_CHARACTERS
    items = []
    for recipient in new.recipients:
        if recipient.recipient_id in made:
            items.append(said(recipient, "duplicate", made[recipient.recipient_id]))
            continue
        try:
            notification = prepare_for(sender, new, recipient, template, endpoints, until)
        except Unprocessable as error:
            items.append({**said(recipient, "refused"), "error": error.message})
        else:
            left -= length(notification)
            if left < 0:
                raise Unprocessable.for_field("recipients", TOO_LONG)
            made[recipient.recipient_id] = notification
            items.append(said(recipient, "accepted", notification))
    session.add_all(made.values())
    session.flush()
    erase(session, [made_one.id for made_one in made.values() if made_one.status == SUPPRESSED])
    for item in items:
        item["notification_id"] = item["notification"] and item["notification"].id
    return {"accepted": len(made), "items": items}


def refuse_to_hurry(sender: User, new: BulkCreate) -> None:
    """What is urgent passes quiet hours and every backlog: not for a thousand people at once."""
    if new.priority == "urgent" and not may_force(sender):
        raise Forbidden(f"To send to many what is urgent needs the permission {MANDATORY}")


def length(notification: Notification) -> int:
    """Of what is stored for one recipient, in characters."""
    words = [notification.body, notification.html or ""]
    for parts in (notification.translations or {}).values():
        words += [parts["body"], parts["html"] or ""]
    return sum(map(len, words))


def prepare_for(
    sender: User,
    new: BulkCreate,
    recipient: BulkRecipient,
    template: Template | None,
    endpoints: Endpoints,
    until: float,
) -> Notification:
    if monotonic() > until:
        raise Unprocessable("The template takes too long for so many recipients")
    shared = {name: value for name, value in new if name not in ("recipients", "variables")}
    variables = {**new.variables, **recipient.variables}
    one = NotificationCreate.model_construct(
        **shared, recipient_id=recipient.recipient_id, variables=variables
    )
    return prepare(sender, one, template, endpoints)


def said(
    recipient: BulkRecipient, status: str, notification: Notification | None = None
) -> dict[str, Any]:
    person = recipient.recipient_id
    return {"recipient_id": person, "status": status, "notification": notification}
