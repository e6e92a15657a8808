"""SMS, through Twilio or whoever has the same API."""

import re

import httpx

from chassis.service_client import parse_retry_after

from ...models import Delivery
from ..contacts import Contacts, UnknownRecipient
from ..localization import get_localized_text
from .protocol import (
    BatchContext,
    Receipt,
    TemporaryFailure,
    Undeliverable,
    UnknownOutcome,
    excerpt_response,
)

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
MAX_SMS_CHARACTERS = 1600  # characters
RETRYABLE_STATUSES = (401, 403, 408, 429)  # a matter of settings or of pace, not of the message


class Sms:
    def __init__(self, batch: BatchContext) -> None:
        settings = batch.settings
        account = settings.sms_account_sid
        self._contacts, self._sender = batch.contacts, settings.sms_sender
        self._path = f"/2010-04-01/Accounts/{account}/Messages.json"
        client = httpx.Client(
            base_url=settings.sms_api_url,
            auth=(account, settings.sms_auth_token.get_secret_value()),
            timeout=settings.sms_timeout_seconds,
        )
        self._client = batch.exit_stack.enter_context(client)

    def send(self, delivery: Delivery) -> Receipt:
        number = get_phone_number(self._contacts, delivery.notification.recipient_id)
        words = get_localized_text(delivery.notification, self._contacts)
        text = f"{words.subject}\n{words.body}"[:MAX_SMS_CHARACTERS]
        message = {"To": number, "From": self._sender, "Body": text}
        headers = {"Idempotency-Key": str(delivery.id)}  # for a provider that looks
        try:
            answer = self._client.post(self._path, data=message, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TemporaryFailure(f"No answer: {error}") from error
        except httpx.RequestError as error:
            raise UnknownOutcome(f"No answer: {error}") from error
        # The sender of a notification is not told the number.
        said = answer.text.replace(number, "the recipient")
        return check_response(answer, excerpt_response(delivery, answer.status_code, said))


def get_phone_number(contacts: Contacts, user_id: str) -> str:
    try:
        number = contacts.get(user_id).get("phone") or ""
    except UnknownRecipient as error:
        raise Undeliverable(str(error)) from error
    if not E164.fullmatch(number):
        raise Undeliverable("The recipient has no phone number that can be used")
    return str(number)


def check_response(answer: httpx.Response, said: str) -> Receipt:
    """Raises what a refusal means."""
    if answer.is_success:
        return Receipt(response=said)
    if answer.is_client_error and answer.status_code not in RETRYABLE_STATUSES:
        raise Undeliverable(said)
    raise TemporaryFailure(said, after=parse_retry_after(answer.headers))
