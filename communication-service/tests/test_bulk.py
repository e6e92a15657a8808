"""One notification for many recipients: each gets it once, and errors stay with one."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Caller, MailServer
from .deliveries import record_statements

Deliver = Callable[..., None]
Login = Callable[..., Caller]

UNKNOWN_USER = "00000000-0000-4000-8000-000000000000"
TEXT = {"subject": "Hello", "body": "News."}


def send(sender: Caller, people: list[Caller], **fields: Any) -> dict[str, Any]:
    new = {"recipients": [{"recipient_id": person.user_id} for person in people], **fields}
    response = sender.post("/notifications/bulk", json=new)
    assert response.status_code == 202, response.text
    return dict(response.json())


def test_each_recipient_has_a_result_and_a_person_named_twice_gets_one_mail(
    sender: Caller, login: Login, deliver: Deliver, mail_server: MailServer
) -> None:
    ann, bob = login(), login()

    result = send(sender, [ann, bob, ann], channels=["email"], **TEXT)
    deliver()

    assert result["accepted"] == 2
    assert [item["status"] for item in result["items"]] == ["accepted", "accepted", "duplicate"]
    assert result["items"][2]["notification_id"] == result["items"][0]["notification_id"]
    assert len(mail_server.mails_to(ann)) == len(mail_server.mails_to(bob)) == 1
    for item in result["items"]:
        assert sender.status({"id": item["notification_id"]}) == "delivered"


def test_what_is_wrong_for_one_is_refused_for_that_one_alone(
    editor: Caller, login: Login, deliver: Deliver
) -> None:
    ann, bob = login(), login()
    template = editor.template(body="Dear {{ name }}, {{ news }}")
    recipients = [
        {"recipient_id": ann.user_id, "variables": {"name": "Ann"}},
        {"recipient_id": bob.user_id},
    ]
    new = {"recipients": recipients, "template": template["name"], "variables": {"news": "hi"}}

    result = editor.post("/notifications/bulk", json={**new, "channels": ["in_app"]}).json()
    deliver()

    assert result["accepted"] == 1
    assert [item["status"] for item in result["items"]] == ["accepted", "refused"]
    assert "name" in result["items"][1]["error"]
    assert ann.inbox()[0]["body"] == "Dear Ann, hi"
    assert bob.inbox() == []


def test_the_same_key_accepts_once(sender: Caller, login: Login, deliver: Deliver) -> None:
    ann = login()
    new = {"recipients": [{"recipient_id": ann.user_id}], "channels": ["in_app"], **TEXT}
    headers = {"Idempotency-Key": "bulk-1"}

    first = sender.post("/notifications/bulk", json=new, headers=headers)
    again = sender.post("/notifications/bulk", json=new, headers=headers)
    deliver()

    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(ann.inbox()) == 1


def test_the_endpoints_of_all_recipients_are_looked_up_at_once(
    sender: Caller, login: Login
) -> None:
    people = [login() for _ in range(5)]
    for person in people:
        new = {"url": "http://127.0.0.1:1/"}
        person.post("/webhook-endpoints", json=new).raise_for_status()

    with record_statements("SELECT communication_endpoints") as questions:
        result = send(sender, people, channels=["webhook"], **TEXT)

    assert len(questions) == 1
    for item in result["items"]:
        notification = {"id": item["notification_id"]}
        assert sender.status(notification) == "pending"
        sender.post(f"/notifications/{item['notification_id']}/cancel")


def test_what_is_said_to_all_of_them_together_has_a_limit(sender: Caller) -> None:
    unknown_user = "00000000-0000-4000-8000-{:012d}"
    recipients = [{"recipient_id": unknown_user.format(number)} for number in range(101)]
    new = {"recipients": recipients, "subject": "Long", "body": "x" * 100_000}

    refused = sender.post("/notifications/bulk", json=new)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "recipients"
    assert "10,000,000 characters" in refused.json()["detail"]
    assert sender.get("/notifications").json()["items"] == []


def test_urgent_for_many_needs_a_permission(sender: Caller, login: Login) -> None:
    new = {"recipients": [{"recipient_id": sender.user_id}], "priority": "urgent", **TEXT}

    refused = sender.post("/notifications/bulk", json=new)
    allowed = login("notifications:send", "notifications:mandatory")

    assert refused.status_code == 403
    assert "notifications:mandatory" in refused.json()["detail"]
    assert allowed.post("/notifications/bulk", json=new).status_code == 202
    assert sender.notify(sender, priority="urgent")["status"] == "pending"


def test_a_thousand_are_accepted_at_once_and_one_more_is_too_many(
    sender: Caller, login: Login, deliver: Deliver
) -> None:
    ann = login()
    unknown_user = "00000000-0000-4000-8000-{:012d}"
    recipients = [{"recipient_id": unknown_user.format(number)} for number in range(1000)]
    new = {"recipients": recipients, "channels": ["in_app"], **TEXT}

    accepted = sender.post("/notifications/bulk", json=new)
    recipients.append({"recipient_id": ann.user_id})
    refused = sender.post("/notifications/bulk", json=new)

    assert accepted.json()["accepted"] == 1000
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "recipients"
    deliver()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"recipients": []}, "recipients"),
        ({"recipients": [{"recipient_id": "ann"}]}, "recipients.0.recipient_id"),
        ({"recipients": [{"recipient": "ann"}]}, "recipients.0.recipient_id"),
        (
            {"recipients": [{"recipient_id": UNKNOWN_USER, "variables": {"name": "x"}}]},
            "recipients",
        ),
        ({"template": "there-is-none", "subject": None, "body": None}, "template"),
        ({"subject": None}, "subject"),
        ({"priority": "first"}, "priority"),
    ],
)
def test_what_is_wrong_for_all_is_refused_by_name(
    change: dict[str, Any], field: str, sender: Caller
) -> None:
    new = {"recipients": [{"recipient_id": sender.user_id}], **TEXT, **change}

    response = sender.post("/notifications/bulk", json=new)

    assert response.status_code == 422
    assert field in [error["field"] for error in response.json()["errors"]]
