"""Webhook endpoints that keep failing: disabled, paused, probed, resumed."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from chassis.clock import now
from communication_service.database import session_maker
from communication_service.models import Delivery, Notification, WebhookEndpoint

from .conftest import Caller
from .deliveries import (
    deliver_until_finished,
    get_retry_delay,
    read_endpoint,
    record_statements,
    send_webhook,
)
from .webhook_sink import Sink

Deliver = Callable[..., None]


RETRY_AT_ONCE = {"delivery_first_delay_seconds": 0.001}
PAUSE_EARLY = {"webhook_pause_after_failures": 3, "webhook_pause_after_seconds": 0}
EAGER = RETRY_AT_ONCE | PAUSE_EARLY


def test_an_endpoint_that_is_gone_is_disabled_and_its_owner_told(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.answers = [(410, {})]
    gone = send_webhook(sender, recipient)

    deliver(**RETRY_AT_ONCE)

    assert sender.status(gone) == "dead"
    now = read_endpoint(recipient, endpoint)
    assert (now["status"], now["reason"]) == ("disabled", "It answered 410 Gone")
    assert send_webhook(sender, recipient)["status"] == "suppressed"
    deliver()
    assert [item["category"] for item in recipient.inbox()] == ["webhooks"]
    recipient.patch(f"/webhook-endpoints/{endpoint['id']}", json={"status": "enabled"})
    again = send_webhook(sender, recipient)
    deliver()
    assert sender.status(again) == "delivered"


def test_what_waits_for_an_endpoint_that_is_disabled_is_suppressed(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    accepted = send_webhook(sender, recipient)
    recipient.patch(f"/webhook-endpoints/{endpoint['id']}", json={"status": "disabled"})

    deliver()

    assert sender.status(accepted) == "suppressed"
    (delivery,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert "Its owner disabled it" in delivery["reason"]
    assert sink.received == []


def test_an_endpoint_that_fails_now_and_then_stays_enabled(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    for _ in range(3):
        sink.answers = [(500, {}), (500, {})]
        deliver_until_finished(sender, send_webhook(sender, recipient), lambda: deliver(**EAGER))

    assert read_endpoint(recipient, endpoint)["status"] == "enabled"
    assert read_endpoint(recipient, endpoint)["failures"] == 0


def test_an_endpoint_that_keeps_failing_is_left_alone_but_for_one_probe(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.always = (500, {})
    accepted = [send_webhook(sender, recipient) for _ in range(4)]
    deliver(delivery_first_delay_seconds=0.05, **PAUSE_EARLY)
    now = read_endpoint(recipient, endpoint)
    assert (now["status"], now["reason"]) == ("paused", "It has failed 4 times in a row")
    deliver(webhook_probe_seconds=0.2, **PAUSE_EARLY)
    assert [item["subject"] for item in recipient.inbox()] == [
        "Your webhook endpoint keeps failing"
    ]

    seen = len(sink.received)
    time.sleep(0.1)
    deliver(webhook_probe_seconds=0.2, **PAUSE_EARLY)  # too early for a probe
    assert len(sink.received) == seen
    probe_now(recipient)
    due_now(recipient)
    deliver(delivery_first_delay_seconds=0.05, **PAUSE_EARLY)
    assert len(sink.received) == seen + 1

    sink.always = (200, {})
    probe_now(recipient)
    due_now(recipient)
    for notification in accepted:
        deliver_until_finished(sender, notification, lambda: deliver(**EAGER))
    assert [sender.status(notification) for notification in accepted] == ["delivered"] * 4
    assert read_endpoint(recipient, endpoint)["status"] == "enabled"


def test_what_waits_for_a_paused_endpoint_asks_once_and_comes_back_spread_after_the_next_probe(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.always = (500, {})
    accepted = [send_webhook(sender, recipient) for _ in range(4)]
    deliver(delivery_first_delay_seconds=0.01, **PAUSE_EARLY)
    due_now(recipient)

    with record_statements("UPDATE communication_endpoints SET probe_at") as questions:
        deliver(delivery_first_delay_seconds=100, webhook_probe_seconds=60, **PAUSE_EARLY)

    assert len(questions) == 1
    pauses = {get_retry_delay(each["id"]) for each in accepted}
    assert len(pauses) == 4
    assert all(55 < pause <= 75 for pause in pauses)


def test_an_endpoint_that_has_not_failed_for_long_enough_stays_enabled(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    touchy = {"webhook_pause_after_failures": 1, "webhook_pause_after_seconds": 30}
    sink.always = (500, {})
    send_webhook(sender, recipient)
    deliver(**touchy)
    assert read_endpoint(recipient, endpoint)["status"] == "enabled"

    with session_maker.begin() as session:
        mine = update(WebhookEndpoint).where(WebhookEndpoint.owner_id == recipient.user_id)
        session.execute(mine.values(failing_since=now() - timedelta(seconds=31)))
    due_now(recipient)
    deliver(**touchy)

    assert read_endpoint(recipient, endpoint)["status"] == "paused"


def probe_now(recipient: Caller) -> None:
    with session_maker.begin() as session:
        mine = update(WebhookEndpoint).where(WebhookEndpoint.owner_id == recipient.user_id)
        session.execute(mine.values(probe_at=now()))


def due_now(recipient: Caller) -> None:
    with session_maker.begin() as session:
        session.execute(
            update(Delivery)
            .where(
                Delivery.notification_id == Notification.id,
                Notification.recipient_id == recipient.user_id,
                Delivery.status == "pending",
            )
            .values(run_at=now())
        )
