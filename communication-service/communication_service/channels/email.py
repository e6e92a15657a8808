"""Mail by SMTP, to the address that identity has for the recipient at the moment of sending."""

import smtplib
import ssl
from contextlib import ExitStack
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from chassis.errors import NotFound
from chassis.service_client import ServiceClient

from ..models import Delivery, now
from ..settings import Settings
from .provider import Undeliverable

POLICY = SMTP.clone(cte_type="7bit")  # for servers without 8BITMIME too
NOT_LOGGED_IN = 530  # a matter of settings, not of the message


class Email:
    def __init__(self, settings: Settings, identity: ServiceClient, batch: ExitStack) -> None:
        self._settings, self._identity, self._batch = settings, identity, batch
        self._smtp: smtplib.SMTP | None = None
        self._down: OSError | None = None

    def send(self, delivery: Delivery) -> None:
        to = recipient(self._identity, delivery.notification.recipient_id)
        message = compose(self._settings, delivery, to)
        try:
            self._connected().send_message(message, to_addrs=[to.addr_spec])
        except smtplib.SMTPNotSupportedError as error:
            raise Undeliverable(str(error)) from error
        except smtplib.SMTPRecipientsRefused as error:
            raise refusal(*error.recipients[to.addr_spec], to) from error
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            raise refusal(error.smtp_code, error.smtp_error, to) from error

    def _connected(self) -> smtplib.SMTP:
        """The batch's connection; a server that is down is not asked again for each mail."""
        if self._down:
            raise self._down
        if self._smtp is None or self._smtp.sock is None:  # smtplib's sign of a lost connection
            try:
                self._smtp = connect(self._settings, self._batch)
            except OSError as error:
                self._down = error
                raise
        return self._smtp


def connect(settings: Settings, batch: ExitStack) -> smtplib.SMTP:
    smtp = batch.enter_context(open_connection(settings))
    if settings.smtp_security == "starttls":
        smtp.starttls(context=ssl.create_default_context())
    if settings.smtp_username:
        smtp.login(settings.smtp_username, settings.smtp_password.get_secret_value())
    return smtp


def open_connection(settings: Settings) -> smtplib.SMTP:
    host, port, timeout = settings.smtp_host, settings.smtp_port, settings.smtp_timeout_seconds
    name = settings.mail_domain  # or smtplib would ask the DNS for ours, and wait
    if settings.smtp_security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, port, name, timeout=timeout, context=context)
    return smtplib.SMTP(host, port, name, timeout=timeout)


def recipient(identity: ServiceClient, user_id: str) -> Address:
    try:
        contact = identity.call("GET", f"/api/v1/users/{user_id}/contact")
    except NotFound as error:
        raise Undeliverable("Identity knows no such recipient") from error
    if not contact["email"]:
        raise Undeliverable("The recipient has no mail address")
    name = " ".join((contact["name"] or "").split())
    try:
        # Takes exactly one address and no line break: nothing here can begin another header.
        return Address(name, addr_spec=contact["email"])
    except (ValueError, IndexError, MessageError) as error:
        raise Undeliverable("The recipient's mail address is not one") from error


def compose(settings: Settings, delivery: Delivery, to: Address) -> EmailMessage:
    notification = delivery.notification
    message = EmailMessage(POLICY)
    message["From"] = settings.smtp_sender
    message["To"] = to
    message["Subject"] = notification.subject
    message["Date"] = format_datetime(now())
    # The same at each attempt: a receiver that has seen it knows a repeated mail.
    message["Message-ID"] = f"<{delivery.id}@{settings.mail_domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Trace-ID"] = notification.trace_id
    message.set_content(notification.body)
    if notification.html is not None:
        message.add_alternative(notification.html, subtype="html")
    return message


def refusal(code: int, answer: bytes | str, to: Address) -> Exception:
    """A 5xx is for good. The sender of a notification is not told the recipient's address."""
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    message = f"{code} {text}".replace(to.addr_spec, "the recipient")
    is_for_good = code >= 500 and code != NOT_LOGGED_IN
    return Undeliverable(message) if is_for_good else smtplib.SMTPException(message)
