"""The worker: connections, batches and urgent deliveries."""

import socket
import time
from collections import Counter
from collections.abc import Callable

import pytest

from communication_service.database import session_maker
from communication_service.delivery import sending, worker
from communication_service.delivery.channels.protocol import Receipt
from communication_service.models import Delivery
from tools.localdev.fake_identity import FakeIdentity

from .conftest import Caller, MailServer, build_settings
from .deliveries import claim_on, get_outcomes

Deliver = Callable[..., None]


def test_a_mail_server_that_takes_no_farewell_undoes_nothing(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals["QUIT"] = "421 Too busy to say goodbye"
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(3)]

    deliver()

    assert [sender.status(notification) for notification in accepted] == ["delivered"] * 3
    assert [get_outcomes(sender, notification) for notification in accepted] == [["delivered"]] * 3
    assert len(mail_server.mails_to(recipient)) == 3


def test_the_mails_of_a_batch_go_by_one_connection(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    deliver()  # what earlier tests left behind
    mail_server.connections.clear()
    for _ in range(5):
        sender.notify(recipient, channels=["email"])

    deliver(delivery_batch_seconds=30)

    assert len(mail_server.mails_to(recipient)) == 5
    assert len(mail_server.connections) == 1


def test_a_mail_server_that_hangs_is_tried_once_for_a_batch_and_nothing_is_lost(
    sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    deliver()  # what earlier tests left behind
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(3)]
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        port = hanging.getsockname()[1]
        here = {"smtp_port": port, "smtp_timeout_seconds": 0.2}
        deliver(**here, delivery_first_delay_seconds=100, delivery_batch_seconds=30)

        hanging.accept()[0].close()
        hanging.setblocking(False)
        with pytest.raises(BlockingIOError):
            hanging.accept()

    assert [sender.status(notification) for notification in accepted] == ["pending"] * 3
    assert [get_outcomes(sender, notification) for notification in accepted] == [["failed"]] * 3
    assert "timed out" in sender.attempts(accepted[0])[0]["error"]


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


def test_one_bad_recipient_of_many_delays_no_one(
    sender: Caller, login: Callable[..., Caller], deliver: Deliver, mail_server: MailServer
) -> None:
    people = [login() for _ in range(100)]
    mail_server.refusals[people[7].email] = "550 No"
    accepted = [sender.notify(person, channels=["email"]) for person in people]

    deliver()

    statuses = [sender.status(notification) for notification in accepted]
    assert statuses.count("delivered") == 99
    assert statuses[7] == "dead"
    assert sender.attempts(accepted[7])[0]["error"] == "550 No"


def test_what_a_turn_has_no_time_for_is_put_back_untried(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    deliver()  # what earlier tests left behind
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(6)]

    taken = claim_on("email", build_settings(mail_server))
    done = sending.send_batch(SlowProvider(), taken, seconds=0.1)
    with session_maker.begin() as session:
        worker.record_results(session, taken, done, build_settings(mail_server))

    assert 0 < len(done) < 6
    statuses = [sender.status(notification) for notification in accepted]
    assert Counter(statuses) == {"delivered": len(done), "pending": 6 - len(done)}
    deliver()
    assert [get_outcomes(sender, notification) for notification in accepted] == [["delivered"]] * 6


class SlowProvider:
    def send(self, _: Delivery) -> Receipt:
        time.sleep(0.03)
        return Receipt()


def test_what_is_urgent_passes_what_is_not(
    login: Callable[..., Caller], recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    sender = login("*")
    deliver()  # what earlier tests left behind
    for _ in range(30):
        sender.notify(recipient, channels=["email"], priority="bulk")
    normal = sender.notify(recipient, channels=["email"])
    reset = sender.notify(recipient, channels=["email"], category="security", priority="bulk")
    urgent = sender.notify(recipient, channels=["email"], priority="urgent")

    taken = claim_on("email", build_settings(mail_server, delivery_batch_size=4))

    order = [str(each.notification_id) for each in taken]
    assert set(order[:2]) == {reset["id"], urgent["id"]}
    assert order[2] == normal["id"]


def test_what_is_urgent_needs_no_turn(sender: Caller, recipient: Caller, deliver: Deliver) -> None:
    normal = sender.notify(recipient, channels=["email"])
    urgent = sender.notify(recipient, channels=["email"], priority="urgent")

    slots = worker.CHANNEL_SLOTS["email"]
    with slots, slots, slots:  # all of them
        deliver()

    assert (sender.status(normal), sender.status(urgent)) == ("pending", "delivered")
