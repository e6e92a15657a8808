"""What users say they want, and that it holds at send time."""

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Caller, MailServer
from .deliveries import get_deliveries, set_preferences

Deliver = Callable[..., None]

ALL_DAY = {"start": "00:00", "end": "23:59", "timezone": "UTC"}


def test_what_was_said_is_shown_and_said_anew_as_a_whole(recipient: Caller) -> None:
    before = recipient.get("/preferences").json()
    assert before == {
        "categories": {},
        "limits": {},
        "quiet_hours": None,
        "default_limits": {},
        "mandatory_categories": ["security"],
        "suppressions": [],
    }
    night = {"start": "22:00", "end": "07:00", "timezone": "Europe/Vienna", "channels": ["email"]}
    limits = {"news": {"amount": 3, "seconds": 60}}

    saved = set_preferences(
        recipient, categories={"news": {"email": False}}, limits=limits, quiet_hours=night
    )

    assert saved == before | {
        "categories": {"news": {"email": False}}, "limits": limits, "quiet_hours": night,
    }  # fmt: skip
    assert recipient.get("/preferences").json() == saved
    assert set_preferences(recipient) == before


@pytest.mark.parametrize(
    ("preferences", "field"),
    [
        ({"categories": {"News!": {"email": True}}}, "categories.News!.[key]"),
        ({"categories": {"news": {"pigeon": True}}}, "categories.news.pigeon.[key]"),
        ({"categories": {"news": {"email": "perhaps"}}}, "categories.news.email"),
        ({"categories": {f"c{number}": {} for number in range(101)}}, "categories"),
        ({"limits": {"news": {"amount": 0, "seconds": 60}}}, "limits.news.amount"),
        ({"quiet_hours": ALL_DAY | {"timezone": "Mars/Olympus"}}, "quiet_hours.timezone"),
        ({"quiet_hours": ALL_DAY | {"timezone": "../../etc/passwd"}}, "quiet_hours.timezone"),
        ({"quiet_hours": ALL_DAY | {"start": "24:00"}}, "quiet_hours.start"),
        ({"quiet_hours": ALL_DAY | {"end": "00:00"}}, "quiet_hours.end"),
    ],
)
def test_wishes_that_make_no_sense_are_refused_by_name(
    recipient: Caller, preferences: dict[str, Any], field: str
) -> None:
    response = recipient.put("/preferences", json=preferences)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


def test_who_wants_no_mail_gets_the_inbox_item_only_and_the_sender_learns_why(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    set_preferences(recipient, categories={"news": {"email": False}})

    accepted = sender.notify(recipient, category="news")
    deliver()

    assert get_deliveries(sender, accepted) == {
        "email": ("suppressed", "The recipient wants no email of the category news"),
        "in_app": ("delivered", None),
    }
    assert sender.status(accepted) == "delivered"
    assert [attempt["channel"] for attempt in sender.attempts(accepted)] == ["in_app"]
    assert mail_server.mails_to(recipient) == []
    assert len(recipient.inbox()) == 1


def test_what_is_said_before_the_moment_of_sending_counts(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    accepted = sender.notify(recipient, category="news", channels=["email"])
    set_preferences(recipient, categories={"*": {"email": False}})

    deliver()

    assert sender.status(accepted) == "suppressed"


def test_security_passes_everything_that_was_said(
    login: Callable[..., Caller], recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    operator, identity = login("*"), login("notifications:send", roles=("service",))
    set_preferences(
        recipient,
        categories={"*": {"email": False}, "security": {"email": False}},
        limits={"*": {"amount": 1, "seconds": 60}},
        quiet_hours=ALL_DAY,
    )
    everything = {"user_id": recipient.user_id, "reason": "Bounced"}
    assert operator.post("/suppressions", json=everything).status_code == 201

    for caller in (identity, identity, operator):
        caller.notify(recipient, category="security", channels=["email"])
    deliver()

    mails = mail_server.mails_to(recipient)
    assert len(mails) == 3
    assert all(mail["List-Unsubscribe"] is None for mail in mails)


def test_not_everyone_may_send_what_no_one_can_turn_off(
    login: Callable[..., Caller], recipient: Caller
) -> None:
    forced = {"recipient_id": recipient.user_id, "subject": "Hi", "body": "Hi"}
    for caller in (login("notifications:send"), login("notifications:send", actor="workflow")):
        response = caller.post("/notifications", json=forced | {"category": "security"})

        assert response.status_code == 403
        assert "notifications:mandatory" in response.json()["detail"]
