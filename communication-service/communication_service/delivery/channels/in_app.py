"""In-app: delivers to the recipient's inbox."""

from ...models import Delivery
from ..localization import get_localized_text
from .protocol import BatchContext, Receipt


class InApp:
    """Makes inbox items, which are saved together with the end of their delivery."""

    def __init__(self, context: BatchContext) -> None:
        self._contacts = context.contacts

    def send(self, delivery: Delivery) -> Receipt:
        notification = delivery.notification
        texts = get_localized_text(notification, self._contacts)
        item = {
            "delivery_id": delivery.id,
            "notification_id": notification.id,
            "user_id": notification.recipient_id,
            "sender_id": notification.sender_id,
            "category": notification.category,
            "subject": texts.subject,
            "body": texts.body,
        }
        return Receipt(inbox_item=item)
