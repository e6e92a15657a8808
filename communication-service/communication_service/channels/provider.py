"""What a channel's provider is, and the one failure it and its caller must agree on."""

from typing import Protocol

from ..models import Delivery, InboxItem


class Undeliverable(Exception):
    """Trying again is useless: the recipient is unknown, or the message is refused for good."""


class Provider(Protocol):
    """It lives as long as one batch of deliveries."""

    def send(self, delivery: Delivery) -> InboxItem | None:
        """Brings one delivery to its recipient.

        An item that it returns is put into its inbox in the transaction that finishes the delivery.
        Raises Undeliverable where trying again is useless; after anything else it is tried again.
        """
