"""In-app: a row in the recipient's inbox."""

from typing import Any

from ..models import Delivery, InboxItem


class InApp:
    def __init__(self, *_: Any) -> None:
        """Needs nothing: the inbox is in this service's own database."""

    def send(self, delivery: Delivery) -> InboxItem:
        notification = delivery.notification
        return InboxItem(
            delivery_id=delivery.id,
            notification_id=notification.id,
            user_id=notification.recipient_id,
            sender_id=notification.sender_id,
            category=notification.category,
            subject=notification.subject,
            body=notification.body,
        )
