"""The interface of a channel's provider: its context, its result, its errors."""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

from chassis.untrusted_http import UntrustedHttpClient

from ...categories import SECURITY
from ...models import Delivery
from ...settings import Settings
from ..contacts import Contacts

MAX_EXCERPT_CHARACTERS = 300


class Undeliverable(Exception):
    """Raised when a retry is useless: an unknown recipient, or a permanent refusal."""


class TemporaryFailure(Exception):
    """Raised when a retry may work, after at least `after` seconds."""

    def __init__(self, message: str, after: float = 0) -> None:
        super().__init__(message)
        self.after = after


class NoAnswer(TemporaryFailure):
    """Raised when there was no answer: the message may have arrived."""


@dataclass(frozen=True)
class Receipt:
    """Holds what to save with the delivery: the other side's response, or an inbox item."""

    response: str | None = None
    inbox_item: dict[str, Any] | None = None


def excerpt(delivery: Delivery, status: int, text: str) -> str:
    """Returns the start of a response; for a secret only the status, as the text may repeat it."""
    is_secret = delivery.notification.category == SECURITY
    return str(status) if is_secret else f"{status} {text[:MAX_EXCERPT_CHARACTERS]}".strip()


@dataclass(frozen=True)
class BatchContext:
    """Holds what a provider works with; `exit_stack` is closed after the batch."""

    settings: Settings
    contacts: Contacts
    http_client: UntrustedHttpClient
    exit_stack: ExitStack


class Provider(Protocol):
    """Sends the deliveries of one batch on one channel."""

    def send(self, delivery: Delivery) -> Any:
        """Sends one delivery; when async, several at a time. Only Undeliverable makes it dead."""
