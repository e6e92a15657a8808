"""Webhook: sends a signed POST to an endpoint of the recipient (standardwebhooks.com)."""

import json
from collections.abc import Iterator
from datetime import datetime
from socket import gaierror

import httpcore
from standardwebhooks import Webhook as Signer

from chassis.clock import now
from chassis.service_client import parse_retry_after
from chassis.untrusted_http import ForbiddenTarget, NoResponse, UntrustedResponse

from ...models import Delivery, WebhookEndpoint
from .protocol import BatchContext, NoAnswer, Receipt, TemporaryFailure, Undeliverable, excerpt

RETRYABLE_STATUSES = (408, 425, 429)  # the temporary ones among the 4xx
GONE = 410
GATEWAY_STATUSES = (502, 504)  # a proxy got no answer from the endpoint
CONNECTION_ERRORS = (httpcore.ConnectError, httpcore.ConnectTimeout, gaierror)


class EndpointGone(Undeliverable):
    """Raised when the endpoint answers 410 Gone."""


class Webhook:
    """Sends webhooks, several at the same time."""

    def __init__(self, context: BatchContext) -> None:
        self._http_client = context.http_client

    async def send(self, delivery: Delivery) -> Receipt:
        if delivery.endpoint is None:
            raise Undeliverable("The endpoint was deleted")
        content = build_payload(delivery)
        headers = build_headers(delivery.endpoint, str(delivery.id), content)
        try:
            answer = await self._http_client.request(
                "POST", delivery.endpoint.url, headers=headers, content=content.encode()
            )
        except ForbiddenTarget as error:
            raise Undeliverable(str(error)) from error
        except NoResponse as error:
            is_unsent = isinstance(error.__cause__, CONNECTION_ERRORS)
            raise (TemporaryFailure if is_unsent else NoAnswer)(str(error)) from error
        text = answer.content.decode(errors="replace")
        return check_response(answer, excerpt(delivery, answer.status, text))


def build_payload(delivery: Delivery) -> str:
    notification = delivery.notification
    data = {
        "id": str(notification.id),
        "category": notification.category,
        "sender_id": notification.sender_id,
        "recipient_id": notification.recipient_id,
        "subject": notification.subject,
        "body": notification.body,
    }
    at = notification.created_at.isoformat()
    event = {"type": f"notification.{notification.category}", "timestamp": at, "data": data}
    return json.dumps(event)


def build_headers(endpoint: WebhookEndpoint, delivery_id: str, content: str) -> dict[str, str]:
    """Signs with each valid secret; the id is the same at each attempt."""
    at = now()
    secrets = get_valid_secrets(endpoint, at)
    signatures = [Signer(secret).sign(delivery_id, at, content) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": "communication-service",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def get_valid_secrets(endpoint: WebhookEndpoint, at: datetime) -> Iterator[str]:
    yield endpoint.secret
    if endpoint.old_secret and endpoint.old_secret_until and endpoint.old_secret_until > at:
        yield endpoint.old_secret


def check_response(answer: UntrustedResponse, response: str) -> Receipt:
    """Returns a receipt, or raise the exception for the refusal."""
    if 200 <= answer.status < 300:
        return Receipt(response=response)
    if answer.status == GONE:
        raise EndpointGone(response)
    if answer.status in GATEWAY_STATUSES:
        raise NoAnswer(response, after=parse_retry_after(answer.headers))
    if answer.status >= 500 or answer.status in RETRYABLE_STATUSES:
        raise TemporaryFailure(response, after=parse_retry_after(answer.headers))
    raise Undeliverable(response)
