"""Mail by SMTP, to the address that identity has for the recipient at the moment of sending."""

import smtplib
import ssl
from contextlib import ExitStack, suppress
from email.charset import QP, Charset
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.policy import Compat32
from email.utils import format_datetime, formataddr, parseaddr
from functools import lru_cache

import idna

from ...models import Content, Delivery, now
from ...preferences.suppressions import build_unsubscribe_link
from ...schemas.templates import RenderedText
from ...settings import Settings
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


class SingleLinePolicy(Compat32):
    """For what is plain; all else is encoded and folded, which takes ten times as long."""

    def fold_binary(self, name: str, value: str) -> bytes:
        if value.isascii() and value.isprintable():
            return f"{name}: {value}\r\n".encode()
        return super().fold_binary(name, value)


WIRE_POLICY = SingleLinePolicy(linesep="\r\n")
MAX_PLAIN_HEADER_CHARACTERS = 60  # characters of a header that need not be folded
AUTHENTICATION_REQUIRED = 530  # a matter of settings, not of the message


class Email:
    def __init__(self, batch: BatchContext) -> None:
        self._settings, self._contacts, self._exit_stack = (
            batch.settings,
            batch.contacts,
            batch.exit_stack,
        )
        sender = parseaddr(self._settings.smtp_sender)
        self._sender, self._sender_address = formataddr(sender), sender[1]
        self._smtp: smtplib.SMTP | None = None
        self._connection_error: OSError | None = None

    def send(self, delivery: Delivery) -> Receipt:
        name, address = get_recipient(self._contacts, delivery.notification.recipient_id)
        words = get_localized_text(delivery.notification, self._contacts)
        to = formataddr((name, address))
        message = compose_message(self._settings, delivery, words, self._sender, to)
        smtp = self._get_connection()
        try:
            smtp.sendmail(self._sender_address, [address], message)
        except smtplib.SMTPRecipientsRefused as error:
            code, text = error.recipients[address]
            raise classify_refusal(
                code, describe_response(delivery, code, text, address)
            ) from error
        except smtplib.SMTPSenderRefused as error:  # our sender or our quota: for the settings
            raise TemporaryFailure(
                describe_response(delivery, error.smtp_code, error.smtp_error, address)
            ) from error
        except smtplib.SMTPDataError as error:
            answer = describe_response(delivery, error.smtp_code, error.smtp_error, address)
            raise classify_refusal(error.smtp_code, answer) from error
        except OSError as error:
            raise UnknownOutcome(f"No answer: {error}") from error
        return Receipt()

    def _get_connection(self) -> smtplib.SMTP:
        """The batch's connection; a server that is down is not asked again for each mail."""
        if self._connection_error:
            raise self._connection_error
        if self._smtp is None or self._smtp.sock is None:  # smtplib's sign of a lost connection
            try:
                self._smtp = connect(self._settings, self._exit_stack)
            except OSError as error:
                self._connection_error = error
                raise
        return self._smtp


def connect(settings: Settings, stack: ExitStack) -> smtplib.SMTP:
    smtp = open_connection(settings)
    stack.callback(close_connection, smtp)
    smtp.ehlo_or_helo_if_needed()  # else a server that hangs here is asked for each mail anew
    if settings.smtp_security == "starttls":
        smtp.starttls(context=ssl.create_default_context())
    if settings.smtp_username:
        smtp.login(settings.smtp_username, settings.smtp_password.get_secret_value())
    return smtp


def close_connection(smtp: smtplib.SMTP) -> None:
    """What was sent is sent, whatever the server says to the farewell."""
    with suppress(OSError):
        smtp.quit()
    smtp.close()


def open_connection(settings: Settings) -> smtplib.SMTP:
    host, port, timeout = settings.smtp_host, settings.smtp_port, settings.smtp_timeout_seconds
    name = settings.mail_domain  # or smtplib would ask the DNS for ours, and wait
    if settings.smtp_security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, port, name, timeout=timeout, context=context)
    return smtplib.SMTP(host, port, name, timeout=timeout)


def get_recipient(contacts: Contacts, user_id: str) -> tuple[str, str]:
    """Name, ready for a header, and address."""
    try:
        contact = contacts.get(user_id)
    except UnknownRecipient as error:
        raise Undeliverable(str(error)) from error
    name = " ".join((contact["name"] or "").split())[:MAX_PLAIN_HEADER_CHARACTERS]
    return encode_header(name), validate_address(contact["email"])


@lru_cache(maxsize=10_000)
def validate_address(text: str | None) -> str:
    """Exactly one address, and nothing in it that could begin another header or command."""
    try:
        address = Address(addr_spec=text)
        domain = idna.encode(address.domain, uts46=True).decode()
    except (TypeError, ValueError, IndexError, MessageError) as error:  # idna's are ValueErrors
        raise Undeliverable("The recipient has no mail address that can be used") from error
    if not address.username.isascii():
        raise Undeliverable("The recipient's mail address has other than ASCII before its @")
    return Address(username=address.username, domain=domain).addr_spec


def compose_message(
    settings: Settings, delivery: Delivery, words: Content | RenderedText, sender: str, to: str
) -> bytes:
    notification = delivery.notification
    message: Message = build_text_part(words.body, "plain")
    if words.html is not None:
        parts = [message, build_text_part(words.html, "html")]
        message = MIMEMultipart("alternative", _subparts=parts)
    message["From"], message["To"] = sender, to
    message["Subject"] = encode_header(words.subject)
    message["Date"] = format_datetime(now())
    # The same at each attempt: a receiver that has seen it knows a repeated mail.
    message["Message-ID"] = f"<{delivery.id}@{settings.mail_domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Trace-ID"] = notification.trace_id or ""
    if notification.category not in settings.mandatory_categories:
        url = build_unsubscribe_link(settings, notification.recipient_id, notification.category)
        message["List-Unsubscribe"] = f"<{url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return message.as_bytes(policy=WIRE_POLICY)


def build_text_part(text: str, subtype: str) -> Message:
    part = MIMENonMultipart("text", subtype)
    charset = Charset("utf-8")
    charset.body_encoding = QP
    part.set_payload(text, charset)
    return part


def encode_header(text: str) -> str:
    """Encoded unless short and plain.

    Not left to email.message.EmailMessage: that decodes words which look encoded, and a
    "=?utf-8?q?=0D=0ABcc:_x?=" becomes a header (seen with Python 3.11 and 3.13).
    """
    is_plain = text.isascii() and text.isprintable() and len(text) <= MAX_PLAIN_HEADER_CHARACTERS
    return text if is_plain and "=?" not in text else Header(text, "utf-8").encode()


def describe_response(delivery: Delivery, code: int, answer: bytes | str, address: str) -> str:
    """The sender of a notification is not told the recipient's address."""
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    return excerpt_response(delivery, code, text.replace(address, "the recipient"))


def classify_refusal(code: int, said: str) -> Exception:
    """A 5xx is for good."""
    is_for_good = code >= 500 and code != AUTHENTICATION_REQUIRED
    return Undeliverable(said) if is_for_good else TemporaryFailure(said)
