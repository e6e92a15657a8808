"""In-app: a row in the recipient's inbox."""

from ..models import Delivery
from .provider import Batch, Receipt


class InApp:
    def __init__(self, _: Batch) -> None:
        """Needs nothing: the inbox is in this service's own database."""

    def send(self, delivery: Delivery) -> Receipt:
        notification = delivery.notification
        item = {
            "delivery_id": delivery.id,
            "notification_id": notification.id,
            "user_id": notification.recipient_id,
            "sender_id": notification.sender_id,
            "category": notification.category,
            "subject": notification.subject,
            "body": notification.body,
        }
        return Receipt(inbox_item=item)
