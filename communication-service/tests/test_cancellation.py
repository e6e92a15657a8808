"""Cancelling notifications while workers deliver them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .conftest import HANG_UP, Caller, MailServer
from .deliveries import bring_forward, get_outcomes

Deliver = Callable[..., None]


def test_what_is_cancelled_while_workers_are_at_it_is_either_cancelled_or_delivered(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(40)]

    with ThreadPoolExecutor(3) as pool:
        works = [pool.submit(deliver, delivery_batch_size=5) for _ in range(2)]
        cancelled = {
            notification["id"]: sender.post(f"/notifications/{notification['id']}/cancel")
            for notification in reversed(accepted)
        }
        for work in works:
            work.result()

    deliver()
    sent = {mail["Message-ID"] for mail in mail_server.mails_to(recipient)}
    for notification in accepted:
        is_cancelled = cancelled[notification["id"]].status_code == 200
        assert sender.status(notification) == ("cancelled" if is_cancelled else "delivered")
        message_id = f"<{notification['deliveries'][0]['id']}@example.com>"
        assert (message_id in sent) != is_cancelled
    assert len(sent) == len(mail_server.mails_to(recipient))


def test_what_was_sent_without_an_answer_cannot_be_cancelled(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["email"])
    mail_server.refusals["DATA"] = HANG_UP
    deliver(delivery_first_delay_seconds=100)
    assert sender.status(accepted) == "pending"
    assert get_outcomes(sender, accepted) == ["unknown"]
    assert len(mail_server.mails_to(recipient)) == 1

    refused = sender.post(f"/notifications/{accepted['id']}/cancel")

    assert (refused.status_code, refused.json()["code"]) == (409, "MayHaveArrived")
    assert sender.status(accepted) == "pending"


def test_what_was_surely_refused_can_be_cancelled(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["email"])
    mail_server.refusals["DATA"] = "452 Out of space"
    deliver(delivery_first_delay_seconds=100)
    bring_forward(accepted["id"])
    deliver(smtp_port=1, delivery_first_delay_seconds=100)
    assert get_outcomes(sender, accepted) == ["failed"] * 2

    cancelled = sender.post(f"/notifications/{accepted['id']}/cancel")

    assert cancelled.json()["status"] == "cancelled"
