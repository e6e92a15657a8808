"""What a channel's provider is, and the one failure it and its caller must agree on."""

from typing import Protocol

from ..database import Base
from ..models import Delivery


class Undeliverable(Exception):
    """Trying again is useless: the recipient is unknown, or the message is refused for good."""


class Provider(Protocol):
    """It lives as long as one batch of deliveries."""

    def send(self, delivery: Delivery) -> Base | None:
        """Brings one delivery to its recipient.

        A row that it returns is saved in the transaction that finishes the delivery. Raises
        Undeliverable where trying again is useless; after anything else it is tried again.
        """
