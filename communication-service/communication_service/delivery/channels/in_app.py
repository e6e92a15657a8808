"""In-app: a row in the recipient's inbox."""

from ...models import Delivery
from ..localization import get_localized_text
from .protocol import BatchContext, Receipt


class InApp:
    def __init__(self, batch: BatchContext) -> None:
        self._contacts = batch.contacts

    def send(self, delivery: Delivery) -> Receipt:
        notification = delivery.notification
        words = get_localized_text(notification, self._contacts)
        item = {
            "delivery_id": delivery.id,
            "notification_id": notification.id,
            "user_id": notification.recipient_id,
            "sender_id": notification.sender_id,
            "category": notification.category,
            "subject": words.subject,
            "body": words.body,
        }
        return Receipt(inbox_item=item)
