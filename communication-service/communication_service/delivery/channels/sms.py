"""SMS: sends through Twilio, or a provider with the same API."""

import re

import httpx

from chassis.service_client import get_ssl_context, parse_retry_after

from ...models import Delivery
from ..contacts import Contacts, UnknownRecipient
from ..localization import get_localized_text
from .protocol import BatchContext, NoAnswer, Receipt, TemporaryFailure, Undeliverable, excerpt

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
MAX_SMS_CHARACTERS = 1600
RETRYABLE_STATUSES = (401, 403, 408, 429)  # wrong settings or too fast, not a bad message


class Sms:
    """Sends the text messages of a batch with one HTTP client."""

    def __init__(self, context: BatchContext) -> None:
        settings = context.settings
        account = settings.sms_account_sid
        self._contacts = context.contacts
        self._sender = settings.sms_sender
        self._path = f"/2010-04-01/Accounts/{account}/Messages.json"
        auth = (account, settings.sms_auth_token.get_secret_value())
        client = httpx.Client(
            base_url=settings.sms_api_url,
            auth=auth,
            timeout=settings.sms_timeout_seconds,
            verify=get_ssl_context(),
        )
        self._client = context.exit_stack.enter_context(client)

    def send(self, delivery: Delivery) -> Receipt:
        number = get_phone_number(self._contacts, delivery.notification.recipient_id)
        texts = get_localized_text(delivery.notification, self._contacts)
        text = f"{texts.subject}\n{texts.body}"[:MAX_SMS_CHARACTERS]
        message = {"To": number, "From": self._sender, "Body": text}
        headers = {"Idempotency-Key": str(delivery.id)}  # for providers that support it
        try:
            answer = self._client.post(self._path, data=message, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TemporaryFailure(f"No answer: {error}") from error
        except httpx.RequestError as error:
            raise NoAnswer(f"No answer: {error}") from error
        # The sender of a notification must not see the number.
        text = answer.text.replace(number, "the recipient")
        return check_response(answer, excerpt(delivery, answer.status_code, text))


def get_phone_number(contacts: Contacts, user_id: str) -> str:
    try:
        number = contacts.get(user_id).get("phone") or ""
    except UnknownRecipient as error:
        raise Undeliverable(str(error)) from error
    if not E164.fullmatch(number):
        raise Undeliverable("The recipient has no valid phone number")
    return str(number)


def check_response(answer: httpx.Response, response: str) -> Receipt:
    """Returns a receipt, or raise the exception for the refusal."""
    if answer.is_success:
        return Receipt(response=response)
    if answer.is_client_error and answer.status_code not in RETRYABLE_STATUSES:
        raise Undeliverable(response)
    raise TemporaryFailure(response, after=parse_retry_after(answer.headers))
