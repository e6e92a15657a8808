"""The worker: retries, death, lost leases, and one failure not holding up the rest."""

import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from communication_service.database import engine, session_maker
from communication_service.delivery import worker
from communication_service.delivery.attempts import DeliveryResult, record_result
from communication_service.delivery.channels.in_app import InApp
from communication_service.delivery.channels.protocol import BatchContext, Receipt
from communication_service.models import PRIORITIES, Delivery
from communication_service.settings import Settings
from tools.localdev.fake_identity import FakeIdentity, Person

from .conftest import HANG_UP, Caller, MailServer, changed
from .test_notifications import bring_forward

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
    assert waiting["reason"] == "451 Try again later"
    (attempt,) = sender.attempts(accepted)
    assert (attempt["number"], attempt["channel"], attempt["outcome"]) == (1, "email", "failed")
    assert 0 <= attempt["latency_ms"] < 60_000
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
    until_over(sender, accepted, deliver)

    assert sender.status(accepted) == "delivered"


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


def test_while_identity_is_down_no_attempt_counts_and_nothing_is_too_old(
    sender: Caller, recipient: Caller, deliver: Deliver, identity: FakeIdentity
) -> None:
    accepted = sender.notify(recipient, channels=["email"])
    caps = {"delivery_max_attempts": 1, "delivery_max_age_seconds": 0.001}
    identity.down = True
    try:
        for _ in range(2):
            deliver(**caps, delivery_first_delay_seconds=100)
            assert 0 < pause_before_next(accepted["id"]) <= 30
            bring_forward(accepted["id"])
    finally:
        identity.down = False
    (waiting,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
    assert outcomes(sender, accepted) == ["failed"] * 2

    def deliver_now() -> None:
        bring_forward(accepted["id"])
        deliver()

    until_over(sender, accepted, deliver_now)

    assert sender.status(accepted) == "delivered"


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


def test_a_mail_server_that_takes_no_farewell_undoes_nothing(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals["QUIT"] = "421 Too busy to say goodbye"
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(3)]

    deliver()

    assert [sender.status(notification) for notification in accepted] == ["delivered"] * 3
    assert [outcomes(sender, notification) for notification in accepted] == [["delivered"]] * 3
    assert len(mail_server.mails_to(recipient)) == 3


def test_the_mails_of_a_batch_go_by_one_connection(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    deliver()  # what other tests left
    mail_server.connections.clear()
    for _ in range(5):
        sender.notify(recipient, channels=["email"])

    deliver(delivery_batch_seconds=30)

    assert len(mail_server.mails_to(recipient)) == 5
    assert len(mail_server.connections) == 1


def test_a_mail_server_that_hangs_is_asked_once_for_a_batch_and_nothing_is_lost(
    sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    deliver()  # what other tests left
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
    assert [outcomes(sender, notification) for notification in accepted] == [["failed"]] * 3
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


def test_one_bad_recipient_of_many_holds_up_nobody(
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


def test_a_lost_lease_is_taken_over_and_the_late_word_is_refused(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["in_app"])
    settings = changed(mail_server, delivery_lease_seconds=0.1)
    taken = taken_on("in_app", settings)
    assert sender.status(accepted) == "running"
    time.sleep(0.2)
    deliver()  # another worker finds the lease run out

    nothing: Any = None  # is what in-app needs for words in one language
    batch = BatchContext(settings, contacts=nothing, http_client=nothing, exit_stack=nothing)
    late = worker.send_batch(InApp(batch), taken, seconds=1)
    with session_maker.begin() as session:
        worker.record_results(session, taken, late, settings)

    assert len(recipient.inbox()) == 1
    assert sender.status(accepted) == "delivered"
    assert outcomes(sender, accepted) == ["superseded", "delivered"]


def test_an_attempt_whose_worker_died_stays_visible(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["email"])
    taken_on("email", changed(mail_server, delivery_lease_seconds=0.1))
    time.sleep(0.2)

    deliver()

    assert outcomes(sender, accepted) == ["lost", "delivered"]


def test_a_worker_whose_clock_is_days_ahead_gives_nothing_up(
    sender: Caller, recipient: Caller, mail_server: MailServer
) -> None:
    settings = changed(mail_server)
    accepted = sender.notify(recipient, channels=["in_app"])
    (taken,) = taken_on("in_app", settings)
    for name in ("queued_at", "lease_until"):  # as a database has them that is days behind
        setattr(taken, name, getattr(taken, name) - timedelta(days=9))

    with record_result(taken) as failed:
        raise OSError("No space left")
    with session_maker.begin() as session:
        worker.record_results(session, [taken], [failed], settings)

    assert sender.status(accepted) == "pending"


def test_a_delivery_that_kills_its_worker_each_time_ends_dead(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["email"])
    settings = changed(mail_server, delivery_lease_seconds=0.05, delivery_max_attempts=3)
    taken_on("email", settings)
    for _ in range(2):
        time.sleep(0.1)
        with session_maker.begin() as session:
            alone = worker.claim_abandoned(session, "email", settings)
            assert len(worker.start_deliveries(session, alone, settings)) == 1
    time.sleep(0.1)

    deliver(delivery_max_attempts=3)

    assert sender.status(accepted) == "dead"
    assert outcomes(sender, accepted) == ["lost"] * 3
    (dead,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert dead["reason"] == "Its worker died or froze, each time"
    assert mail_server.received == []


def test_what_two_dead_workers_had_is_taken_one_by_one(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    deliver()  # what other tests left
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(3)]
    settings = changed(mail_server, delivery_lease_seconds=0.1)
    taken_on("email", settings)
    time.sleep(0.2)
    with session_maker.begin() as session:
        assert len(worker.claim_abandoned(session, "email", settings)) == 3
    time.sleep(0.2)

    with session_maker.begin() as session:
        alone = worker.claim_abandoned(session, "email", changed(mail_server))

    assert len(alone) == 1
    assert sorted(sender.status(each) for each in accepted) == ["running"] * 3
    deliver()
    delivered = [sender.status(each) for each in accepted]
    assert sorted(delivered) == ["delivered", "delivered", "running"]


def test_what_a_turn_has_no_time_for_is_put_back_untried(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    deliver()  # what other tests left
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(6)]

    taken = taken_on("email", changed(mail_server))
    done = worker.send_batch(Slow(), taken, seconds=0.1)
    with session_maker.begin() as session:
        worker.record_results(session, taken, done, changed(mail_server))

    assert 0 < len(done) < 6
    statuses = [sender.status(notification) for notification in accepted]
    assert Counter(statuses) == {"delivered": len(done), "pending": 6 - len(done)}
    deliver()
    assert [outcomes(sender, notification) for notification in accepted] == [["delivered"]] * 6


class Slow:
    def send(self, _: Delivery) -> Receipt:
        time.sleep(0.03)
        return Receipt()


def test_what_is_urgent_passes_what_is_not(
    login: Callable[..., Caller], recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    sender = login("*")
    deliver()  # what other tests left
    for _ in range(30):
        sender.notify(recipient, channels=["email"], priority="bulk")
    normal = sender.notify(recipient, channels=["email"])
    reset = sender.notify(recipient, channels=["email"], category="security", priority="bulk")
    urgent = sender.notify(recipient, channels=["email"], priority="urgent")

    taken = taken_on("email", changed(mail_server, delivery_batch_size=4))

    order = [str(each.notification_id) for each in taken]
    assert set(order[:2]) == {reset["id"], urgent["id"]}
    assert order[2] == normal["id"]


def test_what_is_urgent_needs_no_turn(sender: Caller, recipient: Caller, deliver: Deliver) -> None:
    normal = sender.notify(recipient, channels=["email"])
    urgent = sender.notify(recipient, channels=["email"], priority="urgent")

    turn = worker.CHANNEL_SLOTS["email"]
    with turn, turn, turn:  # as many as there are
        deliver()

    assert (sender.status(normal), sender.status(urgent)) == ("pending", "delivered")


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
    assert outcomes(sender, accepted) == ["unknown"]
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
    assert outcomes(sender, accepted) == ["failed"] * 2

    cancelled = sender.post(f"/notifications/{accepted['id']}/cancel")

    assert cancelled.json()["status"] == "cancelled"


def test_a_delivery_that_fails_for_too_long_is_dead(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals["DATA"] = "452 Out of space"
    accepted = sender.notify(recipient, channels=["email"])

    deliver(delivery_max_age_seconds=0.001)

    assert sender.status(accepted) == "dead"
    assert outcomes(sender, accepted) == ["failed"]


def test_an_unexpected_error_is_tried_again_and_shows_nothing_of_the_inside(
    sender: Caller, recipient: Caller, deliver: Deliver, identity: FakeIdentity
) -> None:
    del identity.contacts[recipient.user_id]["email"]
    accepted = sender.notify(recipient, channels=["email"])

    deliver(delivery_first_delay_seconds=100)

    assert sender.status(accepted) == "pending"
    assert sender.attempts(accepted)[0]["error"].startswith("Something unexpected went wrong")


def test_an_error_can_be_stored_whatever_a_server_says() -> None:
    sent = DeliveryResult(Delivery(), error=OSError("\x00\udc80" + "x" * 999))

    assert sent.reason == "?" + "x" * 499


def taken_on(channel: str, settings: Settings) -> list[Delivery]:
    """What a worker does before it begins to send."""
    with session_maker.begin() as session:
        taken = worker.claim_deliveries(session, channel, PRIORITIES, settings)
        return worker.start_deliveries(session, taken, settings)


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
