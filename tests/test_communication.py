"""Tests communication on a whole stack, with its worker and scheduler."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from .users import (
    WITHOUT_CERTIFICATES,
    Person,
    Stack,
    eventually,
    get_json,
    get_mails,
    log_in,
    register,
    send_request,
)

MESSAGE = {"subject": "The mill race", "body": "It is closed on Monday."}
STREAM_SECONDS = 10  # the longest silence; on a machine with time to spare it is one


@pytest.fixture
def sender(stack: Stack) -> Person:
    return log_in(stack, "admin@example.com")


@pytest.fixture
def recipient(stack: Stack) -> Person:
    return register(stack)


def notify(sender: Person, recipient: Person, **fields: Any) -> Any:
    new = {"recipient_id": recipient.user_id, **MESSAGE, **fields}
    return sender.post("communication", "/notifications", json=new)


def wait_for_end(sender: Person, notification_id: str) -> Any:
    """Wait until the notification has ended."""

    def find() -> Any:
        found = sender.get("communication", f"/notifications/{notification_id}")
        return None if found["status"] in ("pending", "running") else found

    return eventually(find)


def test_in_a_bulk_a_recipient_who_is_named_twice_gets_one_mail(
    stack: Stack, sender: Person, recipient: Person
) -> None:
    other = register(stack)
    people = [recipient, other, recipient]
    new = {"recipients": [{"recipient_id": person.user_id} for person in people], **MESSAGE}

    result = sender.post("communication", "/notifications/bulk", json=new)

    assert [item["status"] for item in result["items"]] == ["accepted", "accepted", "duplicate"]
    for item in result["items"]:
        assert wait_for_end(sender, item["notification_id"])["status"] == "delivered"
    for person in (recipient, other):
        assert len(get_mails(stack, person.email, MESSAGE["body"])) == 1
        assert len(person.get("communication", "/inbox")["items"]) == 1


def test_what_is_scheduled_and_cancelled_is_not_sent(
    stack: Stack, sender: Person, recipient: Person
) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
    kept, withdrawn = (notify(sender, recipient, send_at=soon, body=body) for body in ("A", "B"))

    path = f"/notifications/{withdrawn['id']}/cancel"
    assert sender.post("communication", path)["status"] == "cancelled"

    assert wait_for_end(sender, kept["id"])["status"] == "delivered"
    bodies = [item["body"] for item in recipient.get("communication", "/inbox")["items"]]
    assert bodies == ["A"]
    assert [mail["text"].strip() for mail in get_mails(stack, recipient.email)] == ["A"]


def test_what_a_recipient_wants_no_more_is_suppressed_with_the_reason(
    sender: Person, recipient: Person
) -> None:
    wishes = {"categories": {"news": {"email": False}}}
    get_json(recipient.request("PUT", "communication", "/preferences", json=wishes))

    ended = wait_for_end(sender, notify(sender, recipient, category="news")["id"])

    by_channel = {delivery["channel"]: delivery for delivery in ended["deliveries"]}
    assert by_channel["in_app"]["status"] == "delivered"
    assert by_channel["email"]["status"] == "suppressed"
    assert "wants no email of the category news" in by_channel["email"]["reason"]


def test_one_click_on_the_link_in_a_mail_ends_the_mails(
    stack: Stack, sender: Person, recipient: Person
) -> None:
    news = {"category": "news", "channels": ["email"]}
    notify(sender, recipient, **news)
    (mail,) = eventually(lambda: get_mails(stack, recipient.email, MESSAGE["body"]))
    link = httpx.URL(mail["headers"]["list-unsubscribe"].strip("<>"))

    click = {"List-Unsubscribe": "One-Click"}
    answered = send_request(stack, "POST", "communication", link.path, data=click)

    assert answered.is_success, answered.text
    ended = wait_for_end(sender, notify(sender, recipient, **news)["id"])
    assert ended["status"] == "suppressed"
    assert "unsubscribed" in ended["deliveries"][0]["reason"]


def test_an_open_inbox_shows_what_arrives_within_seconds(
    stack: Stack, sender: Person, recipient: Person
) -> None:
    url = f"{stack.get_url('communication-service')}/api/v1/inbox/stream"
    headers = {"Authorization": f"Bearer {recipient.token}"}
    with (
        httpx.Client(verify=WITHOUT_CERTIFICATES, timeout=STREAM_SECONDS) as client,
        client.stream("GET", url, headers=headers) as response,
    ):
        heard = read_events(response)
        assert next(heard) == {}  # it is open

        accepted = notify(sender, recipient)

        assert next(heard)["notification_id"] == accepted["id"]


def read_events(response: httpx.Response) -> Iterator[Any]:
    """Yield the data of each event; a silence of STREAM_SECONDS raises."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_every_delivery_that_was_accepted_is_in_one_state(
    sender: Person, recipient: Person
) -> None:
    before = sender.get("communication", "/queue/status")
    wait_for_end(sender, notify(sender, recipient)["id"])

    after = sender.get("communication", "/queue/status")

    assert sum(after["deliveries"].values()) == after["accepted"] >= before["accepted"] + 2
    assert after["deliveries"]["delivered"] >= before["deliveries"]["delivered"] + 2
