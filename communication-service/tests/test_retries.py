"""Failed deliveries: which are retried, when, and which are dead."""

from collections.abc import Callable
from uuid import uuid4

import pytest

from communication_service.delivery.attempts import DeliveryResult
from communication_service.models import Delivery
from tools.localdev.fake_identity import FakeIdentity, Person

from .conftest import Caller, MailServer
from .deliveries import bring_forward, deliver_until_finished, get_outcomes, get_retry_delay

Deliver = Callable[..., None]

RETRY_AT_ONCE = {"delivery_first_delay_seconds": 0.001, "delivery_max_attempts": 3}


def test_a_failure_is_tried_again_later_and_later(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals[recipient.email] = "451 Try again later"
    accepted = sender.notify(recipient, channels=["email"])
    deliver(delivery_first_delay_seconds=100)

    (waiting,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]

    assert waiting["status"] == "pending"
    assert waiting["reason"] == "451 Try again later"
    (attempt,) = sender.attempts(accepted)
    assert (attempt["number"], attempt["channel"], attempt["outcome"]) == (1, "email", "failed")
    assert 0 <= attempt["latency_ms"] < 60_000
    assert 45 < get_retry_delay(accepted["id"]) <= 100


def test_a_failure_that_stays_ends_dead_with_its_reason(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals["DATA"] = "452 Out of space"
    accepted = sender.notify(recipient, channels=["email"])

    deliver_until_finished(sender, accepted, lambda: deliver(**RETRY_AT_ONCE))

    assert sender.status(accepted) == "dead"
    assert get_outcomes(sender, accepted) == ["failed"] * 3
    (dead,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert (dead["attempts"], dead["reason"]) == (3, "452 Out of space")


@pytest.mark.parametrize("where", ["RCPT", "DATA"])
def test_a_refusal_for_good_ends_dead_at_once(
    where: str, sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    who = recipient.email if where == "RCPT" else "DATA"
    mail_server.refusals[who] = f"550 <{recipient.email}> is not here"
    accepted = sender.notify(recipient)

    deliver()

    assert sender.status(accepted) == "dead"
    by_channel = {attempt["channel"]: attempt for attempt in sender.attempts(accepted)}
    assert by_channel["email"]["outcome"] == "rejected"
    assert by_channel["email"]["error"] == "550 <the recipient> is not here"
    assert by_channel["in_app"]["outcome"] == "delivered"


def test_a_server_that_refuses_us_as_the_sender_kills_no_mail(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals["MAIL"] = "550 5.4.5 Daily sending quota exceeded"
    accepted = sender.notify(recipient, channels=["email"])
    deliver(delivery_first_delay_seconds=0.01)
    assert sender.status(accepted) == "pending"
    assert "quota" in sender.attempts(accepted)[0]["error"]

    mail_server.refusals.clear()
    deliver_until_finished(sender, accepted, deliver)

    assert sender.status(accepted) == "delivered"


def test_an_unknown_recipient_ends_dead_at_once(sender: Caller, deliver: Deliver) -> None:
    unknown = Person(str(uuid4()), "unknown@example.com", "")
    accepted = sender.notify(unknown, channels=["email"])

    deliver()

    assert sender.status(accepted) == "dead"
    assert sender.attempts(accepted)[0]["error"] == "Identity knows no such recipient"


@pytest.mark.parametrize("address", [None, "", "nonsense", "a@b@c", "a@example.com, b@example.com"])
def test_a_recipient_without_a_mail_address_ends_dead_at_once(
    address: str | None,
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
    assert "mail address" in sender.attempts(accepted)[0]["error"]
    assert mail_server.received == []


def test_identity_that_is_down_delays_mail_and_loses_nothing(
    sender: Caller,
    recipient: Caller,
    deliver: Deliver,
    identity: FakeIdentity,
    mail_server: MailServer,
) -> None:
    accepted = sender.notify(recipient)
    identity.is_down = True
    try:
        deliver(delivery_first_delay_seconds=2)
    finally:
        identity.is_down = False
    first = {attempt["channel"]: attempt["outcome"] for attempt in sender.attempts(accepted)}
    assert first == {"in_app": "delivered", "email": "failed"}

    deliver_until_finished(sender, accepted, deliver)

    assert sender.status(accepted) == "delivered"
    assert len(mail_server.mails_to(recipient)) == 1


def test_while_identity_is_down_no_attempt_counts_and_nothing_is_too_old(
    sender: Caller, recipient: Caller, deliver: Deliver, identity: FakeIdentity
) -> None:
    accepted = sender.notify(recipient, channels=["email"])
    caps = {"delivery_max_attempts": 1, "delivery_max_age_seconds": 0.001}
    identity.is_down = True
    try:
        for _ in range(2):
            deliver(**caps, delivery_first_delay_seconds=100)
            assert 0 < get_retry_delay(accepted["id"]) <= 30
            bring_forward(accepted["id"])
    finally:
        identity.is_down = False
    (waiting,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
    assert get_outcomes(sender, accepted) == ["failed"] * 2

    def deliver_now() -> None:
        bring_forward(accepted["id"])
        deliver()

    deliver_until_finished(sender, accepted, deliver_now)

    assert sender.status(accepted) == "delivered"


def test_a_mail_server_that_is_down_delays_mail_and_loses_nothing(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(3)]
    deliver(smtp_port=1, delivery_first_delay_seconds=0.2)
    assert get_outcomes(sender, accepted[0]) == ["failed"]
    assert "refused" in sender.attempts(accepted[0])[0]["error"]

    for notification in accepted:
        deliver_until_finished(sender, notification, deliver)

    assert [sender.status(notification) for notification in accepted] == ["delivered"] * 3
    assert len(mail_server.mails_to(recipient)) == 3


def test_a_delivery_that_fails_for_too_long_is_dead(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals["DATA"] = "452 Out of space"
    accepted = sender.notify(recipient, channels=["email"])

    deliver(delivery_max_age_seconds=0.001)

    assert sender.status(accepted) == "dead"
    assert get_outcomes(sender, accepted) == ["failed"]


def test_an_unexpected_error_is_tried_again_and_shows_nothing_of_the_inside(
    sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    accepted = sender.notify(recipient, channels=["email"])

    deliver(delivery_first_delay_seconds=100, smtp_host=25)

    assert sender.status(accepted) == "pending"
    assert sender.attempts(accepted)[0]["error"].startswith("Something unexpected went wrong")


def test_an_error_can_be_stored_whatever_a_server_says() -> None:
    sent = DeliveryResult(Delivery(), error=OSError("\x00\udc80" + "x" * 999))

    assert sent.reason == "?" + "x" * 499
