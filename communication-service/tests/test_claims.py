"""Claims: lost leases, crashed workers, wrong clocks."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from communication_service.database import session_maker
from communication_service.delivery import claims, sending, worker
from communication_service.delivery.attempts import record_result
from communication_service.delivery.channels.in_app import InApp
from communication_service.delivery.channels.protocol import BatchContext

from .conftest import Caller, MailServer, build_settings
from .deliveries import claim_on, get_outcomes

Deliver = Callable[..., None]


def test_a_lost_lease_is_taken_over_and_the_late_word_is_refused(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["in_app"])
    settings = build_settings(mail_server, delivery_lease_seconds=0.1)
    taken = claim_on("in_app", settings)
    assert sender.status(accepted) == "running"
    time.sleep(0.2)
    deliver()  # another worker finds the expired lease

    nothing: Any = None  # in-app needs neither contacts nor a client here
    batch = BatchContext(settings, contacts=nothing, http_client=nothing, exit_stack=nothing)
    late = sending.send_batch(InApp(batch), taken, seconds=1)
    with session_maker.begin() as session:
        worker.record_results(session, taken, late, settings)

    assert len(recipient.inbox()) == 1
    assert sender.status(accepted) == "delivered"
    assert get_outcomes(sender, accepted) == ["superseded", "delivered"]


def test_an_attempt_whose_worker_died_stays_visible(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["email"])
    claim_on("email", build_settings(mail_server, delivery_lease_seconds=0.1))
    time.sleep(0.2)

    deliver()

    assert get_outcomes(sender, accepted) == ["lost", "delivered"]


def test_a_worker_whose_clock_is_days_ahead_gives_nothing_up(
    sender: Caller, recipient: Caller, mail_server: MailServer
) -> None:
    settings = build_settings(mail_server)
    accepted = sender.notify(recipient, channels=["in_app"])
    (taken,) = claim_on("in_app", settings)
    for name in ("queued_at", "lease_until"):  # as if the database's clock were days behind
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
    settings = build_settings(mail_server, delivery_lease_seconds=0.05, delivery_max_attempts=3)
    claim_on("email", settings)
    for _ in range(2):
        time.sleep(0.1)
        with session_maker.begin() as session:
            alone = claims.claim_abandoned(session, "email", settings)
            assert len(claims.start_attempts(session, alone, settings)) == 1
    time.sleep(0.1)

    deliver(delivery_max_attempts=3)

    assert sender.status(accepted) == "dead"
    assert get_outcomes(sender, accepted) == ["lost"] * 3
    (dead,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert dead["reason"] == "The worker crashed or froze at each attempt"
    assert mail_server.received == []


def test_what_two_dead_workers_had_is_taken_one_by_one(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    deliver()  # what earlier tests left behind
    accepted = [sender.notify(recipient, channels=["email"]) for _ in range(3)]
    settings = build_settings(mail_server, delivery_lease_seconds=0.1)
    claim_on("email", settings)
    time.sleep(0.2)
    with session_maker.begin() as session:
        assert len(claims.claim_abandoned(session, "email", settings)) == 3
    time.sleep(0.2)

    with session_maker.begin() as session:
        alone = claims.claim_abandoned(session, "email", build_settings(mail_server))

    assert len(alone) == 1
    assert sorted(sender.status(each) for each in accepted) == ["running"] * 3
    deliver()
    delivered = [sender.status(each) for each in accepted]
    assert sorted(delivered) == ["delivered", "delivered", "running"]
