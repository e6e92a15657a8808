"""Unsubscribing by a link in an email, and the operators' suppression list."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from .conftest import Caller, MailServer
from .deliveries import get_deliveries, set_preferences

Deliver = Callable[..., None]


def get_unsubscribe_link(mail: Any) -> str:
    return str(mail["List-Unsubscribe"]).strip("<> ").removeprefix("http://localhost:8003")


def test_one_click_unsubscribes_without_a_login_and_again_changes_nothing(
    sender: Caller, recipient: Caller, client: TestClient, deliver: Deliver, mail_server: MailServer
) -> None:
    sender.notify(recipient, category="news", channels=["email"])
    deliver()
    (mail,) = mail_server.mails_to(recipient)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = f"http://testserver{get_unsubscribe_link(mail)}"
    page = client.get(link)
    assert (page.status_code, "news" in page.text) == (200, True)
    assert recipient.get("/preferences").json()["suppressions"] == []

    answers = [client.post(link, data={"List-Unsubscribe": "One-Click"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert "news" in answers[0].text
    accepted = sender.notify(recipient, category="news")
    other = sender.notify(recipient, category="general")
    deliver()
    why = "The recipient has unsubscribed by the link in an email"
    assert get_deliveries(sender, accepted) == {
        "email": ("suppressed", why), "in_app": ("delivered", None),
    }  # fmt: skip
    assert sender.status(other) == "delivered"
    (suppression,) = recipient.get("/preferences").json()["suppressions"]
    assert (suppression["category"], suppression["author_id"]) == ("news", None)


def test_who_turns_mail_on_again_is_not_unsubscribed_any_more(
    sender: Caller, recipient: Caller, client: TestClient, deliver: Deliver, mail_server: MailServer
) -> None:
    sender.notify(recipient, category="news", channels=["email"])
    deliver()
    client.post(f"http://testserver{get_unsubscribe_link(mail_server.mails_to(recipient)[0])}")

    preferences = set_preferences(recipient, categories={"news": {"email": True}})

    assert preferences["suppressions"] == []
    accepted = sender.notify(recipient, category="news", channels=["email"])
    deliver()
    assert sender.status(accepted) == "delivered"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_that_was_changed_is_nobodys(
    sender: Caller, recipient: Caller, client: TestClient, deliver: Deliver,
    mail_server: MailServer, method: str,
) -> None:  # fmt: skip
    sender.notify(recipient, channels=["email"])
    deliver()
    link = get_unsubscribe_link(mail_server.mails_to(recipient)[0])
    payload, _, signature = link.rpartition(".")

    for forged in (f"{payload}x.{signature}", f"{payload}.x{signature}", payload):
        response = client.request(method, f"http://testserver{forged}")

        assert (response.status_code, response.json()["code"]) == (404, "UnknownLink")


def test_the_suppression_list_is_the_operators(
    sender: Caller, recipient: Caller, login: Callable[..., Caller], deliver: Deliver
) -> None:
    operator = login("*")
    new = {"user_id": recipient.user_id, "channel": "in_app", "reason": "Left the company"}
    listed = operator.post("/suppressions", json=new).json()
    assert operator.post("/suppressions", json=new).status_code == 409
    assert set_preferences(recipient, categories={"*": {"in_app": True}})["suppressions"] == [
        listed
    ]
    accepted = sender.notify(recipient, channels=["in_app"])
    deliver()
    assert get_deliveries(sender, accepted) == {"in_app": ("suppressed", "Left the company")}
    mine = {"user_id": recipient.user_id}
    assert operator.get("/suppressions", params=mine).json()["items"] == [listed]

    path = f"/suppressions/{listed['id']}"
    assert [operator.delete(path).status_code for _ in range(2)] == [204, 404]

    accepted = sender.notify(recipient, channels=["in_app"])
    deliver()
    assert sender.status(accepted) == "delivered"
