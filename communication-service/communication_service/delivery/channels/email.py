"""Email: sends by SMTP to the address that identity has for the recipient at send time."""

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

from chassis.clock import now

from ...models import Content, Delivery
from ...preferences.suppressions import build_unsubscribe_link
from ...schemas.templates import RenderedText
from ...settings import Settings
from ..contacts import Contacts, UnknownRecipient
from ..localization import get_localized_text
from .protocol import BatchContext, NoAnswer, Receipt, TemporaryFailure, Undeliverable, excerpt


class SingleLinePolicy(Compat32):
    """Writes plain headers as they are, ten times as fast as encoding and folding them."""

    def fold_binary(self, name: str, value: str) -> bytes:
        if value.isascii() and value.isprintable():
            return f"{name}: {value}\r\n".encode()
        return super().fold_binary(name, value)


WIRE_POLICY = SingleLinePolicy(linesep="\r\n")
MAX_PLAIN_HEADER_CHARACTERS = 60  # longer headers must be folded
Refusal = smtplib.SMTPRecipientsRefused | smtplib.SMTPResponseException
AUTHENTICATION_REQUIRED = 530  # the settings are wrong, not the message


class Email:
    """Sends the emails of a batch over one SMTP connection."""

    def __init__(self, context: BatchContext) -> None:
        self._settings = context.settings
        self._contacts = context.contacts
        self._exit_stack = context.exit_stack
        name, self._sender_address = parseaddr(context.settings.smtp_sender)
        self._sender = formataddr((name, self._sender_address))
        self._smtp: smtplib.SMTP | None = None
        self._connection_error: OSError | None = None

    def send(self, delivery: Delivery) -> Receipt:
        name, address = get_recipient(self._contacts, delivery.notification.recipient_id)
        text = get_localized_text(delivery.notification, self._contacts)
        to = formataddr((name, address))
        message = compose_message(self._settings, delivery, text, self._sender, to)
        smtp = self._get_connection()
        try:
            smtp.sendmail(self._sender_address, [address], message)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
            raise classify_refusal(error, delivery, address) from error
        except OSError as error:
            raise NoAnswer(f"No answer: {error}") from error
        return Receipt()

    def _get_connection(self) -> smtplib.SMTP:
        """Returns the batch's connection; an unreachable server is tried once per batch."""
        if self._connection_error:
            raise self._connection_error
        if self._smtp is None or self._smtp.sock is None:  # smtplib's mark of a lost connection
            try:
                self._smtp = connect(self._settings, self._exit_stack)
            except OSError as error:
                self._connection_error = error
                raise
        return self._smtp


def connect(settings: Settings, stack: ExitStack) -> smtplib.SMTP:
    smtp = open_connection(settings)
    stack.callback(close_connection, smtp)
    smtp.ehlo_or_helo_if_needed()  # fails here, once per batch, when a server hangs
    if settings.smtp_security == "starttls":
        smtp.starttls(context=ssl.create_default_context())
    if settings.smtp_username:
        smtp.login(settings.smtp_username, settings.smtp_password.get_secret_value())
    return smtp


def close_connection(smtp: smtplib.SMTP) -> None:
    """Says QUIT; whatever the server answers, what was sent is sent."""
    with suppress(OSError):
        smtp.quit()
    smtp.close()


def open_connection(settings: Settings) -> smtplib.SMTP:
    server = (settings.smtp_host, settings.smtp_port)
    name = settings.mail_domain  # else smtplib looks up our host name, and waits
    timeout = settings.smtp_timeout_seconds
    if settings.smtp_security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(*server, name, timeout=timeout, context=context)
    return smtplib.SMTP(*server, name, timeout=timeout)


def get_recipient(contacts: Contacts, user_id: str) -> tuple[str, str]:
    """Returns the name, ready for a header, and the address."""
    try:
        contact = contacts.get(user_id)
    except UnknownRecipient as error:
        raise Undeliverable(str(error)) from error
    name = " ".join((contact["name"] or "").split())[:MAX_PLAIN_HEADER_CHARACTERS]
    return encode_header(name), validate_address(contact["email"])


@lru_cache(maxsize=10_000)
def validate_address(text: str | None) -> str:
    """Returns exactly one address, without anything that could begin another header or command."""
    try:
        address = Address(addr_spec=text)
        domain = idna.encode(address.domain, uts46=True).decode()
    except (TypeError, ValueError, IndexError, MessageError) as error:  # idna's are ValueErrors
        raise Undeliverable("The recipient has no valid mail address") from error
    if not address.username.isascii():
        raise Undeliverable("The recipient's mail address must be ASCII before its @")
    return Address(username=address.username, domain=domain).addr_spec


def compose_message(
    settings: Settings, delivery: Delivery, texts: Content | RenderedText, sender: str, to: str
) -> bytes:
    notification = delivery.notification
    message: Message = build_text_part(texts.body, "plain")
    if texts.html is not None:
        parts = [message, build_text_part(texts.html, "html")]
        message = MIMEMultipart("alternative", _subparts=parts)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = encode_header(texts.subject)
    message["Date"] = format_datetime(now())
    # The same at each attempt, so that a receiver recognizes a repeated email.
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
    """Encodes a header, unless it is short and plain.

    email.message.EmailMessage would decode text that looks encoded, and "=?utf-8?q?=0D=0ABcc:_x?="
    would become a header (seen with Python 3.11 and 3.13).
    """
    is_plain = text.isascii() and text.isprintable() and len(text) <= MAX_PLAIN_HEADER_CHARACTERS
    return text if is_plain and "=?" not in text else Header(text, "utf-8").encode()


def classify_refusal(error: Refusal, delivery: Delivery, address: str) -> Exception:
    """Returns the exception for a refusal; a 5xx to the recipient or the message is permanent."""
    answer: bytes | str
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, answer = error.recipients[address]
    else:
        code, answer = error.smtp_code, error.smtp_error
    text = answer if isinstance(answer, str) else answer.decode(errors="replace")
    # The sender of the notification must not see the recipient's address.
    response = excerpt(delivery, code, text.replace(address, "the recipient"))
    is_ours = isinstance(error, smtplib.SMTPSenderRefused) or code == AUTHENTICATION_REQUIRED
    return Undeliverable(response) if code >= 500 and not is_ours else TemporaryFailure(response)
