"""What people want to get, from what they say to what is sent, and why it is not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from communication_service.database import engine, session_maker
from communication_service.delivery import worker
from communication_service.models import PRIORITIES
from communication_service.schemas.preferences import RateLimit

from .conftest import Caller, MailServer, changed

Deliver = Callable[..., None]

ALL_DAY = {"start": "00:00", "end": "23:59", "timezone": "UTC"}


def says(person: Caller, **wishes: Any) -> dict[str, Any]:
    response = person.put("/preferences", json=wishes)
    assert response.status_code == 200, response.text
    return dict(response.json())


def deliveries(sender: Caller, notification: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    """Status and reason by channel."""
    found = sender.get(f"/notifications/{notification['id']}").json()["deliveries"]
    return {one["channel"]: (one["status"], one["reason"]) for one in found}


def unsubscribe_link(mail: Any) -> str:
    return str(mail["List-Unsubscribe"]).strip("<> ").removeprefix("http://localhost:8003")


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

    said = says(recipient, categories={"news": {"email": False}}, limits=limits, quiet_hours=night)

    assert said == before | {
        "categories": {"news": {"email": False}}, "limits": limits, "quiet_hours": night,
    }  # fmt: skip
    assert recipient.get("/preferences").json() == said
    assert says(recipient) == before


@pytest.mark.parametrize(
    ("wishes", "field"),
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
    recipient: Caller, wishes: dict[str, Any], field: str
) -> None:
    response = recipient.put("/preferences", json=wishes)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


def test_who_wants_no_mail_gets_the_inbox_item_only_and_the_sender_learns_why(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    says(recipient, categories={"news": {"email": False}})

    accepted = sender.notify(recipient, category="news")
    deliver()

    assert deliveries(sender, accepted) == {
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
    says(recipient, categories={"*": {"email": False}})

    deliver()

    assert sender.status(accepted) == "suppressed"


def test_security_passes_everything_that_was_said(
    login: Callable[..., Caller], recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    operator, identity = login("*"), login("notifications:send", roles=("service",))
    says(
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


def test_not_everybody_may_send_what_nobody_can_turn_off(
    login: Callable[..., Caller], recipient: Caller
) -> None:
    forced = {"recipient_id": recipient.user_id, "subject": "Hi", "body": "Hi"}
    for caller in (login("notifications:send"), login("notifications:send", actor="workflow")):
        response = caller.post("/notifications", json=forced | {"category": "security"})

        assert response.status_code == 403
        assert "notifications:mandatory" in response.json()["detail"]


def test_quiet_hours_put_off_and_drop_nothing(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    hour_ago = in_an_hour - timedelta(hours=2)
    hours = {"start": f"{hour_ago:%H:%M}", "end": f"{in_an_hour:%H:%M}"}
    says(recipient, quiet_hours=ALL_DAY | hours)
    accepted = sender.notify(recipient, channels=["email"])
    urgent = sender.notify(recipient, channels=["email"], priority="urgent")

    deliver()

    (waiting,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
    assert waiting["reason"] == "The recipient has quiet hours"
    ends = in_an_hour.replace(second=0, microsecond=0)
    assert abs(datetime.fromisoformat(waiting["run_at"]) - ends) < timedelta(seconds=5)
    assert sender.status(urgent) == "delivered"

    make_due(accepted)
    says(recipient)
    deliver()

    assert deliveries(sender, accepted) == {"email": ("delivered", None)}
    assert len(mail_server.mails_to(recipient)) == 2


def test_quiet_hours_go_by_the_databases_clock_whatever_the_workers_says(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    deliver()  # what other tests left
    half_a_day, settings = timedelta(hours=12), changed(mail_server)
    then = datetime.now(UTC) + half_a_day
    hours = {
        "start": f"{then - timedelta(hours=1):%H:%M}",
        "end": f"{then + timedelta(hours=1):%H:%M}",
    }
    says(recipient, quiet_hours=ALL_DAY | hours)
    accepted = sender.notify(recipient, channels=["email"])

    with session_maker.begin() as session:
        found = worker.claim_deliveries(session, "email", PRIORITIES, settings)
        (taken,) = [each for each in found if str(each.notification_id) == accepted["id"]]
        assert taken.lease_until
        taken.lease_until += half_a_day  # as a database has it that is ahead of us
        assert worker.start_deliveries(session, [taken], settings) == []

    assert deliveries(sender, accepted)["email"] == ("pending", "The recipient has quiet hours")


def make_due(notification: dict[str, Any]) -> None:
    due = text("UPDATE communication_deliveries SET run_at = now() WHERE notification_id = :id")
    with engine.begin() as connection:
        connection.execute(due, {"id": notification["id"]})


def test_of_ten_within_the_limits_time_three_are_sent_and_seven_say_why_not(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    says(recipient, limits={"news": {"amount": 3, "seconds": 60}})
    accepted = [sender.notify(recipient, category="news", channels=["email"]) for _ in range(10)]
    other = sender.notify(recipient, category="general", channels=["email"])

    with ThreadPoolExecutor(3) as pool:  # several workers, which take two at a time
        list(pool.map(lambda _: deliver(delivery_batch_size=2), range(3)))

    found = [deliveries(sender, notification)["email"] for notification in accepted]
    why = "Beyond the recipient's limit for the category news: 3 within 60 seconds"
    assert found.count(("delivered", None)) == 3
    assert found.count(("suppressed", why)) == 7
    assert sender.status(other) == "delivered"
    assert len(mail_server.mails_to(recipient)) == 4


def test_a_limit_of_the_settings_holds_for_who_has_said_nothing(
    sender: Caller, recipient: Caller, login: Callable[..., Caller], deliver: Deliver
) -> None:
    says(recipient, limits={"news": {"amount": 2, "seconds": 60}})
    people = [recipient, login()]
    for person in people:
        for _ in range(3):
            sender.notify(person, category="news", channels=["in_app"])

    deliver(category_limits={"news": RateLimit(amount=1, seconds=60)})

    assert [len(person.inbox()) for person in people] == [2, 1]


def test_what_is_tried_again_counts_once_against_the_limit(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    says(recipient, limits={"news": {"amount": 1, "seconds": 60}})
    accepted = sender.notify(recipient, category="news", channels=["email"])
    deliver(smtp_port=1, delivery_first_delay_seconds=100)
    assert sender.status(accepted) == "pending"

    make_due(accepted)
    deliver()

    assert sender.status(accepted) == "delivered"


def test_preferences_that_cannot_be_read_put_off_what_is_theirs_alone(
    sender: Caller, recipient: Caller, login: Callable[..., Caller], deliver: Deliver
) -> None:
    says(recipient, categories={"news": {"in_app": False}})
    later = text("UPDATE communication_preferences SET wishes = :wishes WHERE user_id = :id")
    with engine.begin() as connection:
        connection.execute(later, {"wishes": '{"telepathy": true}', "id": recipient.user_id})
    people = [login(), recipient, login()]
    accepted = [sender.notify(person, channels=["in_app"]) for person in people]
    login("*").notify(recipient, channels=["in_app"], category="security")

    deliver()

    assert [sender.status(each) for each in accepted] == ["delivered", "pending", "delivered"]
    assert [item["category"] for item in recipient.inbox()] == ["security"]
    why = "The recipient's preferences cannot be read"
    assert deliveries(sender, accepted[1]) == {"in_app": ("pending", why)}


def test_one_click_unsubscribes_without_a_login_and_again_changes_nothing(
    sender: Caller, recipient: Caller, client: TestClient, deliver: Deliver, mail_server: MailServer
) -> None:
    sender.notify(recipient, category="news", channels=["email"])
    deliver()
    (mail,) = mail_server.mails_to(recipient)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = f"http://testserver{unsubscribe_link(mail)}"
    page = client.get(link)
    assert (page.status_code, "news" in page.text) == (200, True)
    assert recipient.get("/preferences").json()["suppressions"] == []

    answers = [client.post(link, data={"List-Unsubscribe": "One-Click"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert "news" in answers[0].text
    accepted = sender.notify(recipient, category="news")
    other = sender.notify(recipient, category="general")
    deliver()
    why = "The recipient has unsubscribed by a link in a mail"
    assert deliveries(sender, accepted) == {
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
    client.post(f"http://testserver{unsubscribe_link(mail_server.mails_to(recipient)[0])}")

    said = says(recipient, categories={"news": {"email": True}})

    assert said["suppressions"] == []
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
    link = unsubscribe_link(mail_server.mails_to(recipient)[0])
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
    assert says(recipient, categories={"*": {"in_app": True}})["suppressions"] == [listed]
    accepted = sender.notify(recipient, channels=["in_app"])
    deliver()
    assert deliveries(sender, accepted) == {"in_app": ("suppressed", "Left the company")}
    mine = {"user_id": recipient.user_id}
    assert operator.get("/suppressions", params=mine).json()["items"] == [listed]

    path = f"/suppressions/{listed['id']}"
    assert [operator.delete(path).status_code for _ in range(2)] == [204, 404]

    accepted = sender.notify(recipient, channels=["in_app"])
    deliver()
    assert sender.status(accepted) == "delivered"
