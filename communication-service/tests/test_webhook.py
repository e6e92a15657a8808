"""The webhook channel, over real HTTP: signatures, outcomes, retries."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update
from standardwebhooks import Webhook, WebhookVerificationError

from chassis.clock import now
from communication_service.database import session_maker
from communication_service.models import WebhookEndpoint

from .conftest import Caller
from .deliveries import deliver_until_finished, get_outcomes, get_retry_delay, send_webhook
from .processes import wait_for
from .webhook_sink import DROPPED, HangingSink, Sink, running_sink

Deliver = Callable[..., None]

RETRY_AT_ONCE = {"delivery_first_delay_seconds": 0.001}


def test_a_webhook_is_signed_and_says_what_the_notification_says(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    accepted = send_webhook(sender, recipient, subject="Grüße", category="news")

    deliver()

    ((headers, content),) = sink.received
    payload = Webhook(endpoint["secret"]).verify(content, headers)
    assert payload["type"] == "notification.news"
    assert payload["data"]["id"] == accepted["id"]
    assert (payload["data"]["subject"], payload["data"]["body"]) == ("Grüße", "News.")
    assert headers["webhook-id"] == accepted["deliveries"][0]["id"]
    (attempt,) = sender.attempts(accepted)
    assert (attempt["outcome"], attempt["response"]) == ("delivered", "200 Hello")
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint["secret"]).verify(content + b" ", headers)


def test_mail_inbox_and_webhook_are_one_notification(
    sender: Caller,
    recipient: Caller,
    endpoint: dict[str, Any],
    sink: Sink,
    deliver: Deliver,
    mail_server: Any,
) -> None:
    accepted = sender.notify(recipient, channels=["email", "in_app", "webhook"])

    deliver()

    assert sender.status(accepted) == "delivered"
    assert len(sink.received) == len(mail_server.mails_to(recipient)) == len(recipient.inbox()) == 1


def test_each_endpoint_gets_what_it_is_for(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    more = {"url": f"{sink.url}/news", "categories": ["news"]}
    recipient.post("/webhook-endpoints", json=more).raise_for_status()

    both, one = send_webhook(sender, recipient, category="news"), send_webhook(sender, recipient)
    deliver()

    assert len(both["deliveries"]) == 2
    assert len(one["deliveries"]) == 1
    assert len(set(sink.ids)) == len(sink.ids) == 3


def test_without_an_endpoint_the_delivery_is_suppressed_and_says_why(
    sender: Caller, recipient: Caller
) -> None:
    accepted = send_webhook(sender, recipient)

    (delivery,) = accepted["deliveries"]
    assert (accepted["status"], delivery["status"]) == ("suppressed", "suppressed")
    assert "no webhook endpoint" in delivery["reason"]


def test_while_a_secret_is_replaced_both_verify_and_then_only_the_new_one(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    path = f"/webhook-endpoints/{endpoint['id']}/rotate-secret"
    rotated = recipient.post(path, json={"keep_old_seconds": 60}).json()
    assert rotated["secret"] != endpoint["secret"]
    send_webhook(sender, recipient)
    deliver()
    ((headers, content),) = sink.received
    for secret in (endpoint["secret"], rotated["secret"]):
        Webhook(secret).verify(content, headers)

    with session_maker.begin() as session:
        session.execute(
            update(WebhookEndpoint)
            .where(WebhookEndpoint.owner_id == recipient.user_id)
            .values(old_secret_until=now())
        )
    send_webhook(sender, recipient)
    deliver()

    headers, content = sink.received[-1]
    Webhook(rotated["secret"]).verify(content, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoint["secret"]).verify(content, headers)


def test_a_failure_is_tried_again_with_the_same_id(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.answers = [(500, {}), (503, {}), (429, {})]
    accepted = send_webhook(sender, recipient)

    deliver_until_finished(sender, accepted, lambda: deliver(**RETRY_AT_ONCE))

    assert get_outcomes(sender, accepted) == ["failed"] * 3 + ["delivered"]
    assert len(sink.ids) == 4
    assert len(set(sink.ids)) == 1
    answers = [attempt["error"] or attempt["response"] for attempt in sender.attempts(accepted)]
    assert answers == ["500 Hello", "503 Hello", "429 Hello", "200 Hello"]
    times = [(each["started_at"], each["finished_at"]) for each in sender.attempts(accepted)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(DROPPED, "unknown"), (502, "unknown"), (504, "unknown"), (500, "failed"), (429, "failed")],
)
def test_what_got_no_answer_of_the_endpoints_own_may_have_arrived(
    status: int,
    outcome: str,
    sender: Caller,
    recipient: Caller,
    endpoint: dict[str, Any],
    sink: Sink,
    deliver: Deliver,
) -> None:
    sink.answers = [(status, {})]
    accepted = send_webhook(sender, recipient)
    deliver(delivery_first_delay_seconds=100)

    cancelled = sender.post(f"/notifications/{accepted['id']}/cancel")

    assert get_outcomes(sender, accepted) == [outcome]
    assert cancelled.status_code == (409 if outcome == "unknown" else 200)


def test_an_endpoint_that_cannot_be_reached_has_nothing(
    sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    new = {"url": "http://127.0.0.1:1/"}
    recipient.post("/webhook-endpoints", json=new).raise_for_status()
    accepted = send_webhook(sender, recipient)
    deliver(delivery_first_delay_seconds=100)

    cancelled = sender.post(f"/notifications/{accepted['id']}/cancel")

    assert get_outcomes(sender, accepted) == ["failed"]
    assert cancelled.json()["status"] == "cancelled"


def test_the_endpoint_says_when_to_come_back(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    sink.answers = [(503, {"Retry-After": "120"})]
    accepted = send_webhook(sender, recipient)

    deliver(**RETRY_AT_ONCE)

    assert 110 < get_retry_delay(accepted["id"]) <= 120


@pytest.mark.parametrize("status", [400, 401, 404, 301, 302, 307])
def test_a_refusal_or_redirect_ends_dead_at_once(
    status: int,
    sender: Caller,
    recipient: Caller,
    endpoint: dict[str, Any],
    sink: Sink,
    deliver: Deliver,
) -> None:
    sink.answers = [(status, {"Location": sink.url})]
    accepted = send_webhook(sender, recipient)

    deliver(**RETRY_AT_ONCE)

    assert sender.status(accepted) == "dead"
    assert len(sink.received) == 1


def test_an_endpoint_whose_name_came_to_lead_inside_is_refused_when_it_is_called(
    sender: Caller, recipient: Caller, endpoint: dict[str, Any], sink: Sink, deliver: Deliver
) -> None:
    inside = sink.url.replace("127.0.0.1", "localhost")  # tests allow only the number
    with session_maker.begin() as session:
        session.execute(
            update(WebhookEndpoint)
            .where(WebhookEndpoint.owner_id == recipient.user_id)
            .values(url=inside)
        )
    accepted = send_webhook(sender, recipient)

    deliver()

    assert sender.status(accepted) == "dead"
    assert "not public" in sender.attempts(accepted)[0]["error"]
    assert sink.received == []


def test_an_endpoint_that_hangs_holds_up_no_other(
    sender: Caller, login: Callable[..., Caller], sink: Sink, deliver: Deliver
) -> None:
    slow, quick = login(), login()
    with running_sink(HangingSink) as hanging, ThreadPoolExecutor(1) as worker:
        slow.post("/webhook-endpoints", json={"url": hanging.url}).raise_for_status()
        quick.post("/webhook-endpoints", json={"url": sink.url}).raise_for_status()
        waiting = [send_webhook(sender, slow) for _ in range(25)]
        accepted = send_webhook(sender, quick)

        work = worker.submit(deliver, delivery_batch_seconds=1, webhook_pause_after_failures=99)
        wait_for(lambda: bool(sink.received), seconds=10)
        before_it = len(hanging.received)
        hanging.awake.set()
        work.result()

        assert before_it <= 5
        assert sender.status(accepted) == "delivered"
        for notification in waiting:
            deliver_until_finished(sender, notification, deliver)
    assert {sender.status(notification) for notification in waiting} == {"delivered"}
