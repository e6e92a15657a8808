"""Having a notification accepted, and following it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from .conftest import Caller, MailServer

Deliver = Callable[..., None]
Login = Callable[..., Caller]


def test_a_notification_is_accepted_and_then_delivered_by_mail_and_in_app(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, subject="Greetings", body="From the engine room.")
    assert accepted["status"] == "pending"
    assert accepted["channels"] == ["email", "in_app"]
    assert [delivery["status"] for delivery in accepted["deliveries"]] == ["pending", "pending"]

    deliver()

    found = sender.get(accepted["status_url"].removeprefix("/api/v1")).json()
    assert found["status"] == "delivered"
    (mail,) = mail_server.mails_to(recipient)
    assert mail["Subject"] == "Greetings"
    assert mail.get_content().strip() == "From the engine room."
    (item,) = recipient.inbox()
    assert item["body"] == "From the engine room."
    assert item["sender_id"] == sender.user_id
