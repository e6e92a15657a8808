"""The worker: retries, death, lost leases, and one failure not holding up the rest."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from chassis.testing import FakeIdentity, Person
from communication_service import delivery
from communication_service.channels.in_app import InApp
from communication_service.database import engine, session_maker
from communication_service.models import Delivery, now

from .conftest import Caller, MailServer, changed

Deliver = Callable[..., None]

AT_ONCE = {"delivery_first_delay_seconds": 0.001, "delivery_max_attempts": 3}


def outcomes(sender: Caller, notification: dict[str, Any]) -> list[str]:
    return [attempt["outcome"] for attempt in sender.attempts(notification)]


def test_a_failure_is_tried_again_later_and_later(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals[recipient.email] = "451 Try again later"
    accepted = sender.notify(recipient, channels=["email"])
    deliver(delivery_first_delay_seconds=100)

    (waiting,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]

    assert waiting["status"] == "pending"
    assert waiting["last_error"] == "451 Try again later"
    (attempt,) = sender.attempts(accepted)
    assert (attempt["number"], attempt["channel"], attempt["outcome"]) == (1, "email", "failed")
    assert 45 < pause_before_next(accepted["id"]) <= 100


def test_a_failure_that_stays_ends_dead_with_its_reason(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals["DATA"] = "452 Out of space"
    accepted = sender.notify(recipient, channels=["email"])

    until_over(sender, accepted, lambda: deliver(**AT_ONCE))

    assert sender.status(accepted) == "dead"
    assert outcomes(sender, accepted) == ["failed"] * 3
    (dead,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert (dead["attempts"], dead["last_error"]) == (3, "452 Out of space")


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


def test_an_unknown_recipient_ends_dead_at_once(sender: Caller, deliver: Deliver) -> None:
    nobody = Person(str(uuid4()), "nobody@example.com", "")
    accepted = sender.notify(nobody, channels=["email"])

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
    identity.down = True
    try:
        deliver(delivery_first_delay_seconds=2)
    finally:
        identity.down = False
    first = {attempt["channel"]: attempt["outcome"] for attempt in sender.attempts(accepted)}
    assert first == {"in_app": "delivered", "email": "failed"}

    until_over(sender, accepted, deliver)

    assert sender.status(accepted) == "delivered"
    assert len(mail_server.mails_to(recipient)) == 1


def test_a_mail_server_that_is_down_delays_mail_and_loses_nothing(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(3)]
    deliver(smtp_port=1, delivery_first_delay_seconds=0.2)
    assert outcomes(sender, accepted[0]) == ["failed"]
    assert "refused" in sender.attempts(accepted[0])[0]["error"]

    for notification in accepted:
        until_over(sender, notification, deliver)

    assert [sender.status(notification) for notification in accepted] == ["delivered"] * 3
    assert len(mail_server.mails_to(recipient)) == 3


def test_the_address_is_the_one_at_the_moment_of_sending(
    sender: Caller,
    recipient: Caller,
    deliver: Deliver,
    identity: FakeIdentity,
    mail_server: MailServer,
) -> None:
    sender.notify(recipient, channels=["email"])
    identity.contacts[recipient.user_id]["email"] = f"moved-{recipient.email}"

    deliver()

    assert [mail["To"] for mail in mail_server.mails_to(recipient)] == [
        f"Rita Reviewer <moved-{recipient.email}>"
    ]


def test_one_bad_recipient_of_many_holds_up_nobody(
    sender: Caller, login: Callable[..., Caller], deliver: Deliver, mail_server: MailServer
) -> None:
    people = [login() for _ in range(30)]
    mail_server.refusals[people[7].email] = "550 No"
    accepted = [sender.notify(person, channels=["email"]) for person in people]

    deliver()

    statuses = [sender.status(notification) for notification in accepted]
    assert statuses.count("delivered") == 29
    assert statuses[7] == "dead"


def test_a_lost_lease_is_taken_over_and_the_late_word_is_refused(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["in_app"])
    settings = changed(mail_server, delivery_lease_seconds=0.1)
    with session_maker.begin() as session:
        taken = delivery.take(session, "in_app", settings)
    assert sender.status(accepted) == "running"
    time.sleep(0.2)
    deliver()  # another worker finds the lease run out

    with ExitStack() as batch:
        delivery.work_off(deque(taken), InApp(settings, None, batch), settings)

    assert len(recipient.inbox()) == 1
    assert sender.status(accepted) == "delivered"
    assert outcomes(sender, accepted) == ["superseded", "delivered"]


def test_an_attempt_whose_worker_died_stays_visible(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["email"])
    with session_maker.begin() as session:
        delivery.take(session, "email", changed(mail_server, delivery_lease_seconds=0.1))
    time.sleep(0.2)

    deliver()

    assert outcomes(sender, accepted) == [None, "delivered"]


def test_a_long_batch_keeps_its_lease_and_writes_down_what_is_done(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.pause = 0.1
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(12)]
    settings = changed(mail_server, delivery_lease_seconds=0.6)
    deliver()  # what other tests left

    deliver(**{"delivery_lease_seconds": settings.delivery_lease_seconds})

    assert [outcomes(sender, notification) for notification in accepted] == [["delivered"]] * 12
    assert len(mail_server.mails_to(recipient)) == 12


def test_an_unexpected_error_is_tried_again_and_shows_nothing_of_the_inside(
    sender: Caller, recipient: Caller, deliver: Deliver, identity: FakeIdentity
) -> None:
    identity.contacts[recipient.user_id] = {"unexpected": True}
    accepted = sender.notify(recipient, channels=["email"])

    deliver(delivery_first_delay_seconds=100)

    assert sender.status(accepted) == "pending"
    assert sender.attempts(accepted)[0]["error"].startswith("Something unexpected went wrong")


def test_an_error_can_be_stored_whatever_a_server_says() -> None:
    sent = delivery.Sent(Delivery(), now(), error=OSError("\x00\udc80" + "x" * 999))

    assert sent.reason == "?" + "x" * 499


def until_over(sender: Caller, notification: dict[str, Any], deliver: Deliver) -> None:
    """Works on until a notification waits for nothing any more."""
    until = time.monotonic() + 20
    while sender.status(notification) in ("pending", "running"):
        assert time.monotonic() < until
        deliver()
        time.sleep(0.05)


def pause_before_next(notification_id: str) -> float:
    statement = text(
        "SELECT extract(epoch FROM run_at - now()) FROM communication_deliveries"
        " WHERE notification_id = :id"
    )
    with engine.begin() as connection:
        return float(connection.execute(statement, {"id": notification_id}).scalar_one())
