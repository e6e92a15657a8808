"""What a channel's provider is, what it is given, and how it says what came of it."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from chassis.untrusted_http import UntrustedHttpClient

from ...models import Delivery
from ...schemas.fields import SECURITY
from ...settings import Settings
from ..contacts import Contacts

MAX_EXCERPT_CHARACTERS = 300  # characters


class Undeliverable(Exception):
    """Trying again is useless: the recipient is unknown, or the message is refused for good."""


class TemporaryFailure(Exception):
    """It may work later, after so many seconds at the earliest."""

    def __init__(self, message: str, after: float = 0) -> None:
        super().__init__(message)
        self.after = after


class UnknownOutcome(TemporaryFailure):
    """It was sent and nobody has said what became of it: it may have arrived all the same."""


@dataclass(frozen=True)
class Receipt:
    """What is to be saved with the delivery's end: what the other side answered, an inbox item."""

    response: str | None = None
    inbox_item: dict[str, Any] | None = None


def excerpt_response(delivery: Delivery, status: int, text: str) -> str:
    """The beginning of an answer; of one to a secret nothing, since it may repeat that."""
    is_secret = delivery.notification.category == SECURITY
    return str(status) if is_secret else f"{status} {text[:MAX_EXCERPT_CHARACTERS]}".strip()


@dataclass(frozen=True)
class BatchContext:
    """What a provider works with. What is put on `stack` is closed when the batch is over."""

    settings: Settings
    contacts: Contacts
    http_client: UntrustedHttpClient
    exit_stack: ExitStack


class Provider(Protocol):
    """Made with a Batch, it lives as long as that."""

    def send(self, delivery: Delivery) -> Any:
        """Brings one delivery to its recipient, and returns a Receipt.

        Where it is an `async def`, several are sent at the same time. Raises Undeliverable where
        trying again is useless; after anything else it is tried again.
        """
