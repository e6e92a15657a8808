"""Users cannot reach what belongs to others; policies.txt says who may call which route."""

from collections.abc import Callable

import pytest

from .conftest import EDITOR, Caller

Login = Callable[..., Caller]

SOME_ID = "00000000-0000-4000-8000-000000000000"
PARTS = {"subject": "Hi", "body": "Hi"}


@pytest.mark.parametrize(
    ("method", "action"),
    [("GET", ""), ("GET", "/attempts"), ("POST", "/cancel"), ("POST", "/retry")],
)
def test_a_notification_is_its_senders_alone(
    method: str, action: str, sender: Caller, recipient: Caller, login: Login
) -> None:
    path = f"/notifications/{sender.notify(recipient)['id']}{action}"
    nowhere = f"/notifications/{SOME_ID}{action}"

    for stranger in (login(*EDITOR, "queue:read"), login(user_id=recipient.user_id)):
        answer, unknown = stranger.request(method, path), stranger.request(method, nowhere)
        assert answer.status_code == 404
        assert answer.json()["detail"] == unknown.json()["detail"]
    assert login("*").request(method, path).status_code in (200, 409)


def test_an_inbox_item_is_its_recipients_alone(
    sender: Caller, recipient: Caller, login: Login, deliver: Callable[..., None]
) -> None:
    sender.notify(recipient, channels=["in_app"])
    deliver()
    (item,) = recipient.inbox()

    for stranger in (sender, login(), login("*")):
        assert stranger.put(f"/inbox/{item['id']}/read").status_code == 404
        assert stranger.inbox() == []
    assert recipient.inbox()[0]["read_at"] is None


def test_a_service_acts_for_a_person_with_that_persons_rights(
    sender: Caller, recipient: Caller, login: Login
) -> None:
    workflow = login("notifications:send", user_id=sender.user_id, actor="workflow-service")

    accepted = workflow.notify(recipient)

    assert accepted["sender_id"] == sender.user_id
    assert sender.get(f"/notifications/{accepted['id']}").status_code == 200


def test_another_persons_idempotency_key_is_not_mine(
    sender: Caller, recipient: Caller, login: Login
) -> None:
    new = {"recipient_id": recipient.user_id, **PARTS}
    headers = {"Idempotency-Key": "shared"}
    mine = sender.post("/notifications", json=new, headers=headers)

    theirs = login().post("/notifications", json=new, headers=headers)

    assert "Idempotent-Replayed" not in theirs.headers
    assert theirs.json()["id"] != mine.json()["id"]
