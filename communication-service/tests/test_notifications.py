"""Sending a notification, following it, cancelling it, retrying it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from .conftest import Caller, MailServer
from .deliveries import bring_forward

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


def test_a_notification_goes_only_where_it_was_asked_to(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, channels=["in_app", "in_app"])
    deliver()

    assert accepted["channels"] == ["in_app"]
    assert mail_server.mails_to(recipient) == []
    assert len(recipient.inbox()) == 1


def test_the_same_key_sends_once(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    new = {"recipient_id": recipient.user_id, "subject": "Once", "body": "Only."}
    headers = {"Idempotency-Key": "send-once"}

    first = sender.post("/notifications", json=new, headers=headers)
    second = sender.post("/notifications", json=new, headers=headers)
    other = sender.post("/notifications", json={**new, "body": "Other"}, headers=headers)
    deliver()

    assert (first.status_code, second.status_code, other.status_code) == (202, 202, 422)
    assert second.json() == first.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(mail_server.mails_to(recipient)) == len(recipient.inbox()) == 1


def test_everything_carries_the_trace_id_of_the_request(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    sender.headers["X-Trace-ID"] = trace_id = uuid4().hex
    accepted = sender.notify(recipient)
    del sender.headers["X-Trace-ID"]

    deliver()

    assert accepted["trace_id"] == trace_id
    assert [attempt["trace_id"] for attempt in sender.attempts(accepted)] == [trace_id] * 2
    assert mail_server.mails_to(recipient)[0]["X-Trace-ID"] == trace_id


def test_a_sender_sees_only_their_own_notifications(
    sender: Caller, recipient: Caller, login: Login
) -> None:
    first, second = sender.notify(recipient), sender.notify(recipient)
    login().notify(recipient)

    newest = sender.get("/notifications", params={"limit": 1}).json()
    rest = sender.get("/notifications", params={"cursor": newest["next_cursor"]}).json()

    assert [item["id"] for item in newest["items"]] == [second["id"]]
    assert [item["id"] for item in rest["items"]] == [first["id"]]
    assert rest["next_cursor"] is None


def test_a_scheduled_notification_waits_for_its_time(
    sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    accepted = sender.notify(recipient, send_at=later.isoformat())
    deliver()
    assert sender.status(accepted) == "pending"
    assert recipient.inbox() == []

    bring_forward(accepted["id"])
    deliver()

    assert sender.status(accepted) == "delivered"
    assert len(recipient.inbox()) == 1


def test_a_past_time_means_now(sender: Caller, recipient: Caller, deliver: Deliver) -> None:
    accepted = sender.notify(recipient, send_at="2020-02-29T00:00:00Z")

    deliver()

    assert sender.status(accepted) == "delivered"


def test_a_cancelled_notification_is_not_delivered(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    accepted = sender.notify(recipient, send_at=later.isoformat())

    cancelled = sender.post(f"/notifications/{accepted['id']}/cancel")
    bring_forward(accepted["id"])
    deliver()

    assert cancelled.json()["status"] == sender.status(accepted) == "cancelled"
    assert recipient.inbox() == []
    assert mail_server.mails_to(recipient) == []
    again = sender.post(f"/notifications/{accepted['id']}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "NothingToCancel")


def test_what_is_delivered_cannot_be_cancelled(
    sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    accepted = sender.notify(recipient)
    deliver()

    response = sender.post(f"/notifications/{accepted['id']}/cancel")

    assert response.status_code == 409
    assert sender.status(accepted) == "delivered"


def test_dead_deliveries_can_be_tried_again_with_the_same_message_id(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    mail_server.refusals[recipient.email] = "550 5.1.1 No such mailbox"
    accepted = sender.notify(recipient)
    deliver()
    path = f"/notifications/{accepted['id']}/retry"
    assert sender.status(accepted) == "dead"
    mail_server.refusals.clear()

    retried = sender.post(path, headers={"Idempotency-Key": "again"})
    replayed = sender.post(path, headers={"Idempotency-Key": "again"})
    deliver()

    assert retried.status_code == 202
    assert retried.json()["status"] == "pending"
    assert replayed.json() == retried.json()
    assert sender.status(accepted) == "delivered"
    (mail,) = mail_server.mails_to(recipient)
    by_channel = {delivery["channel"]: delivery["id"] for delivery in accepted["deliveries"]}
    assert mail["Message-ID"] == f"<{by_channel['email']}@example.com>"
    assert len(recipient.inbox()) == 1  # not delivered twice
    nothing_left = sender.post(path)
    assert (nothing_left.status_code, nothing_left.json()["code"]) == (409, "NothingToRetry")


def test_the_queue_counts_deliveries_by_status(
    sender: Caller, recipient: Caller, login: Login, deliver: Deliver
) -> None:
    operator = login("queue:read")
    deliver()
    before = operator.get("/queue/status").json()

    sender.notify(recipient)
    during = operator.get("/queue/status").json()
    deliver()
    after = operator.get("/queue/status").json()

    assert during["deliveries"]["pending"] == before["deliveries"]["pending"] + 2
    assert during["due"] == before["due"] + 2
    assert during["oldest_due_at"] is not None
    assert after["deliveries"]["delivered"] == before["deliveries"]["delivered"] + 2
    assert after["due"] == 0
