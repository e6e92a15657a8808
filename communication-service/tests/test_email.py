"""The composed email: its parts and headers, and what cannot be injected into it."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import formataddr, getaddresses, parsedate_to_datetime
from uuid import uuid4

import pytest

from communication_service.delivery.channels.email import compose_message, encode_header
from communication_service.models import Delivery, Notification
from tools.localdev.fake_identity import FakeIdentity

from .conftest import Caller, MailServer, build_settings

Deliver = Callable[..., None]


def test_a_mail_says_who_when_and_what(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["email"], subject="Grüße", body="Schöne Grüße")

    deliver()

    (mail,) = mail_server.mails_to(recipient)
    (delivery,) = accepted["deliveries"]
    assert mail["From"] == "Notifications <notifications@example.com>"
    assert mail["To"] == f"Rita Reviewer <{recipient.email}>"
    assert mail["Subject"] == "Grüße"
    assert mail["Message-ID"] == f"<{delivery['id']}@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert datetime.now(UTC) - parsedate_to_datetime(mail["Date"]) < timedelta(minutes=1)
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().strip() == "Schöne Grüße"


def test_words_arrive_as_they_were_written(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    body = "From here\n.\n..\r\n.\r\nMAIL FROM:<x@example.com>\n" + "long " * 500 + "\n🙂\x0b end"
    sender.notify(recipient, channels=["email"], body=body)

    deliver()

    (mail,) = mail_server.mails_to(recipient)
    written = body.replace("\r\n", "\n").split("\n")
    assert mail.get_content().replace("\r\n", "\n").rstrip("\n").split("\n") == written


@pytest.mark.parametrize(
    "name",
    [
        "Rita\r\nBcc: everybody@example.com",
        'Rita" <x@example.com>, "',
        "Rita, everybody@example.com",
        "=?utf-8?q?=0D=0ABcc:_x?=",
        "Ренская",
        "",
        None,
    ],
)
def test_a_name_stays_a_name(
    name: str | None,
    sender: Caller,
    recipient: Caller,
    deliver: Deliver,
    identity: FakeIdentity,
    mail_server: MailServer,
) -> None:
    identity.contacts[recipient.user_id]["name"] = name
    sender.notify(recipient, channels=["email"])

    deliver()

    (mail,) = mail_server.mails_to(recipient)
    ((_, address),) = getaddresses([str(mail["To"])])
    assert address == recipient.email
    assert "Bcc" not in mail


@pytest.mark.parametrize(
    "address",
    [
        "rita@example.com\r\nBcc: everybody@example.com",
        "rita@example.com\nDATA",
        "rita@example.com> SIZE=1",
        "rita@example.com\x00",
        "rïta@example.com",
        "rita@exam_ple.com",
        "rita@-.com",
    ],
)
def test_an_address_cannot_carry_anything_else(
    address: str,
    sender: Caller,
    recipient: Caller,
    deliver: Deliver,
    identity: FakeIdentity,
    mail_server: MailServer,
) -> None:
    identity.contacts[recipient.user_id]["email"] = address
    accepted = sender.notify(recipient, channels=["email"])

    deliver()

    assert sender.status(accepted) == "dead"
    assert mail_server.received == []


def test_a_domain_in_any_script_is_reached_by_its_ascii_name(
    sender: Caller,
    recipient: Caller,
    deliver: Deliver,
    identity: FakeIdentity,
    mail_server: MailServer,
) -> None:
    identity.contacts[recipient.user_id]["email"] = "rita@exämple.com"
    sender.notify(recipient, channels=["email"])

    deliver()

    assert [mail["To"] for mail in mail_server.received] == [
        "Rita Reviewer <rita@xn--exmple-cua.com>"
    ]


def test_no_words_become_another_header(mail_server: MailServer) -> None:
    tokens = ["=?utf-8?q?", "=?utf-8?b?", "?=", "=0D=0A", "DQpCY2M6IHg=", "Bcc: x", " ", "é", '"']
    tokens += ["<x@example.com>", ",", "\\", "(", "@", ":", "word " * 20, "x" * 100, "\x08", "🙂"]
    dice = random.Random(7)
    for _ in range(2000):
        words = " ".join("".join(dice.choices(tokens, k=6)).split())
        notification = Notification(
            subject=words[:300], body=words, trace_id="trace", category="x", recipient_id="y"
        )
        to = formataddr((encode_header(words[:60]), "rita@example.com"))

        delivery = Delivery(id=uuid4(), notification=notification)
        sent = compose_message(
            build_settings(mail_server), delivery, notification, "us@example.com", to
        )

        head = sent.partition(b"\r\n\r\n")[0].split(b"\r\n")
        names = [line.partition(b":")[0] for line in head if not line.startswith(b" ")]
        assert b" ".join(sorted(names)) == (
            b"Auto-Submitted Content-Transfer-Encoding Content-Type Date From List-Unsubscribe"
            b" List-Unsubscribe-Post MIME-Version Message-ID Subject To X-Trace-ID"
        )
        received = message_from_bytes(sent)
        assert str(make_header(decode_header(received["Subject"]))) == words[:300]
        assert received.get_payload(decode=True) == words.encode()
