"""Dead letters: listed, replayed once, purged; and secret texts that are redacted."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from communication_service.database import engine

from .conftest import Caller, MailServer
from .deliveries import deliver_until_finished
from .webhook_sink import Sink, running_sink

Deliver = Callable[..., None]
Login = Callable[..., Caller]


@pytest.fixture
def operator(login: Login) -> Caller:
    return login("queue:read", "queue:write")


@pytest.fixture
def dead(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> dict[str, Any]:
    mail_server.refusals[recipient.email] = "550 Not here"
    accepted = sender.notify(recipient, channels=["email"])
    deliver()
    assert sender.status(accepted) == "dead"
    mail_server.refusals.clear()
    return dict(accepted["deliveries"][0], notification=accepted)


def of(operator: Caller, recipient: Caller) -> list[dict[str, Any]]:
    page = operator.get("/dead-letters", params={"recipient_id": recipient.user_id})
    return list(page.json()["items"])


def test_a_dead_letter_is_listed_with_its_reason_and_its_attempts(
    operator: Caller, recipient: Caller, dead: dict[str, Any]
) -> None:
    (found,) = of(operator, recipient)

    assert (found["id"], found["channel"]) == (dead["id"], "email")
    assert found["reason"] == "550 Not here"
    assert found["recipient_id"] == recipient.user_id
    (attempt,) = operator.get(f"/deliveries/{dead['id']}/attempts").json()["items"]
    assert attempt["outcome"] == "rejected"


def test_attempts_of_a_delivery_are_its_senders_and_of_a_dead_one_an_operators(
    sender: Caller, recipient: Caller, operator: Caller, login: Login, dead: dict[str, Any]
) -> None:
    alive = sender.notify(recipient, channels=["in_app"])["deliveries"][0]

    def statuses(delivery: dict[str, Any]) -> list[int]:
        path = f"/deliveries/{delivery['id']}/attempts"
        return [caller.get(path).status_code for caller in (sender, operator, login())]

    assert statuses(dead) == [200, 200, 404]
    assert statuses(alive) == [200, 404, 404]


def test_replayed_once_however_often_it_is_requested(
    operator: Caller,
    sender: Caller,
    recipient: Caller,
    dead: dict[str, Any],
    deliver: Deliver,
    mail_server: MailServer,
) -> None:
    which, headers = {"recipient_id": recipient.user_id}, {"Idempotency-Key": dead["id"]}

    first = operator.post("/dead-letters/replay", json=which, headers=headers)
    deliver()
    again = operator.post("/dead-letters/replay", json=which, headers=headers)
    without_key = operator.post("/dead-letters/replay", json=which)
    deliver()

    assert (first.status_code, first.json()["count"]) == (202, 1)
    assert again.json() == first.json()
    assert without_key.json()["count"] == 0
    assert sender.status(dead["notification"]) == "delivered"
    assert len(mail_server.mails_to(recipient)) == 1
    assert of(operator, recipient) == []


@pytest.mark.parametrize(
    "other",
    [{"channel": "in_app"}, {"category": "other"}, {"delivery_ids": [str(9).zfill(32)]}],
    ids=["channel", "category", "ids"],
)
def test_a_filter_leaves_the_others_dead(
    other: dict[str, Any], operator: Caller, recipient: Caller, dead: dict[str, Any]
) -> None:
    which = {"recipient_id": recipient.user_id, **other}

    assert operator.post("/dead-letters/replay", json=which).json()["count"] == 0
    assert len(of(operator, recipient)) == 1


def test_who_replayed_what_is_on_record(
    operator: Caller, recipient: Caller, dead: dict[str, Any]
) -> None:
    which = {"delivery_ids": [dead["id"]]}
    done = operator.post("/dead-letters/replay", json=which).json()

    recorded = operator.get("/dead-letters/operations", params={"limit": 1}).json()["items"]

    assert recorded == [done]
    assert (done["action"], done["actor_id"], done["which"]) == ("replay", operator.user_id, which)


def test_a_sender_who_tries_again_is_on_record_too(
    sender: Caller, operator: Caller, dead: dict[str, Any]
) -> None:
    sender.post(f"/notifications/{dead['notification']['id']}/retry").raise_for_status()

    (done,) = operator.get("/dead-letters/operations", params={"limit": 1}).json()["items"]

    assert (done["action"], done["actor_id"], done["count"]) == ("replay", sender.user_id, 1)
    assert done["which"] == {"delivery_ids": [dead["id"]]}


def test_a_purge_counts_first_and_then_gives_up(
    operator: Caller, sender: Caller, recipient: Caller, dead: dict[str, Any], deliver: Deliver
) -> None:
    which = {"recipient_id": recipient.user_id}

    dry = operator.post("/dead-letters/purge", json={**which, "dry_run": True}).json()
    assert (dry["count"], dry["id"]) == (1, None)
    assert len(of(operator, recipient)) == 1

    done = operator.post("/dead-letters/purge", json=which).json()
    assert (done["action"], done["count"]) == ("purge", 1)
    assert operator.get("/dead-letters/operations", params={"limit": 1}).json()["items"] == [done]
    assert of(operator, recipient) == []
    assert sender.status(dead["notification"]) == "cancelled"
    assert operator.post("/dead-letters/replay", json=which).json()["count"] == 0


def read_stored_text(notification: dict[str, Any]) -> str:
    statement = text("SELECT subject || body FROM communication_notifications WHERE id = :id")
    with engine.connect() as connection:
        return str(connection.scalar(statement, {"id": notification["id"]}))


def test_the_words_of_a_security_mail_are_gone_once_it_is_delivered(
    login: Login, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    secret = "https://example.com/reset?token=canary"
    service = login("*", roles=("service",))
    fields = {"channels": ["email"], "category": "security", "subject": "Reset", "body": secret}
    headers = {"Idempotency-Key": recipient.user_id}
    new = {"recipient_id": recipient.user_id, **fields}
    accepted = service.post("/notifications", json=new, headers=headers)
    assert accepted.status_code == 202, accepted.text
    assert "canary" not in accepted.text
    assert "canary" in read_stored_text(accepted.json())

    deliver()

    (mail,) = mail_server.mails_to(recipient)
    assert secret in mail.get_content()
    assert read_stored_text(accepted.json()) == "Reset"
    with engine.connect() as connection:
        kept = text("SELECT count(*) FROM idempotency_keys WHERE body LIKE '%canary%'::bytea")
        assert connection.scalar(kept) == 0


def test_the_words_of_a_dead_security_mail_are_kept_for_a_replay_and_not_shown(
    login: Login, operator: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals[recipient.email] = "550 Not here"
    service = login("*", roles=("service",))
    fields = {"channels": ["email"], "category": "security", "body": "canary"}
    accepted = service.notify(recipient, **fields)
    deliver()
    assert "canary" in read_stored_text(accepted)
    assert "canary" not in service.get(f"/notifications/{accepted['id']}").text

    operator.post("/dead-letters/purge", json={"recipient_id": recipient.user_id})

    assert "canary" not in read_stored_text(accepted)


def test_the_words_of_a_security_mail_stay_until_its_last_channel_is_over(
    login: Login, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals["DATA"] = "452 Out of space"
    service = login("*", roles=("service",))
    accepted = service.notify(recipient, category="security", body="canary")
    deliver(delivery_first_delay_seconds=0.01)
    assert service.status(accepted) == "pending"
    assert "canary" in read_stored_text(accepted)

    mail_server.refusals.clear()
    deliver_until_finished(service, accepted, deliver)

    assert service.status(accepted) == "delivered"
    assert "canary" in mail_server.mails_to(recipient)[0].get_content()
    assert "canary" not in read_stored_text(accepted)
    assert recipient.inbox()[0]["body"] == "canary"  # the recipient keeps it


def test_the_words_of_a_security_webhook_go_however_it_is_suppressed(
    login: Login, recipient: Caller, deliver: Deliver
) -> None:
    service = login("*", roles=("service",))
    secret = {"channels": ["webhook"], "category": "security", "body": "canary"}
    nowhere = service.notify(recipient, **secret)
    new = {"recipients": [{"recipient_id": recipient.user_id}], "subject": "Reset", **secret}
    in_bulk = service.post("/notifications/bulk", json=new).json()["items"][0]["notification_id"]
    path = f"/webhook-endpoints/{add_endpoint(recipient)['id']}"
    disabled = service.notify(recipient, **secret)
    recipient.patch(path, json={"status": "disabled"})
    deliver()
    recipient.patch(path, json={"status": "enabled"})
    deleted = service.notify(recipient, **secret)
    assert "canary" in read_stored_text(deleted)
    recipient.delete(path)

    for notification in (nowhere, {"id": in_bulk}, disabled, deleted):
        assert service.status(notification) == "suppressed"
        assert "canary" not in read_stored_text(notification)


def test_an_answer_that_repeats_a_secret_is_neither_kept_nor_logged(
    login: Login,
    recipient: Caller,
    deliver: Deliver,
    mail_server: MailServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mail_server.refusals["DATA"] = "550 Spam: canary"
    service = login("*", roles=("service",))
    with running_sink(Sink) as sink:
        sink.body = b"canary"
        sink.answers = [(200, {}), (400, {})]
        add_endpoint(recipient, sink.url)
        secret = {"channels": ["email", "webhook"], "category": "security"}
        both = [service.notify(recipient, **secret) for _ in range(2)]
        deliver()

    told = [service.get(f"/notifications/{each['id']}").text for each in both]
    tried = [attempt for each in both for attempt in service.attempts(each)]
    assert "canary" not in f"{told} {tried} {caplog.text}"
    answers = {attempt["response"] or attempt["error"] for attempt in tried}
    assert answers == {"550", "200", "400"}


def add_endpoint(recipient: Caller, url: str = "http://127.0.0.1:1/") -> dict[str, Any]:
    response = recipient.post("/webhook-endpoints", json={"url": url})
    assert response.status_code == 201, response.text
    return dict(response.json())
