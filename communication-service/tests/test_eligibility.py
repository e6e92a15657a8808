"""What is sent now, later or not at all: quiet hours and rate limits."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from communication_service.categories import RateLimit
from communication_service.database import engine, session_maker
from communication_service.delivery import claims
from communication_service.models import PRIORITIES

from .conftest import Caller, MailServer, build_settings
from .deliveries import bring_forward, get_deliveries, set_preferences

Deliver = Callable[..., None]

ALL_DAY = {"start": "00:00", "end": "23:59", "timezone": "UTC"}


def test_quiet_hours_put_off_and_drop_nothing(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    hour_ago = in_an_hour - timedelta(hours=2)
    hours = {"start": f"{hour_ago:%H:%M}", "end": f"{in_an_hour:%H:%M}"}
    set_preferences(recipient, quiet_hours=ALL_DAY | hours)
    accepted = sender.notify(recipient, channels=["email"])
    urgent = sender.notify(recipient, channels=["email"], priority="urgent")

    deliver()

    (waiting,) = sender.get(f"/notifications/{accepted['id']}").json()["deliveries"]
    assert (waiting["status"], waiting["attempts"]) == ("pending", 0)
    assert waiting["reason"] == "The recipient has quiet hours"
    ends = in_an_hour.replace(second=0, microsecond=0)
    assert abs(datetime.fromisoformat(waiting["run_at"]) - ends) < timedelta(seconds=5)
    assert sender.status(urgent) == "delivered"

    bring_forward(accepted["id"])
    set_preferences(recipient)
    deliver()

    assert get_deliveries(sender, accepted) == {"email": ("delivered", None)}
    assert len(mail_server.mails_to(recipient)) == 2


def test_quiet_hours_go_by_the_databases_clock_whatever_the_workers_says(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    deliver()  # what earlier tests left behind
    half_a_day, settings = timedelta(hours=12), build_settings(mail_server)
    then = datetime.now(UTC) + half_a_day
    hours = {
        "start": f"{then - timedelta(hours=1):%H:%M}",
        "end": f"{then + timedelta(hours=1):%H:%M}",
    }
    set_preferences(recipient, quiet_hours=ALL_DAY | hours)
    accepted = sender.notify(recipient, channels=["email"])

    with session_maker.begin() as session:
        found = claims.claim_deliveries(session, "email", PRIORITIES, settings)
        (taken,) = [each for each in found if str(each.notification_id) == accepted["id"]]
        assert taken.lease_until
        taken.lease_until += half_a_day  # as if the database's clock were ahead of ours
        assert claims.start_attempts(session, [taken], settings) == []

    assert get_deliveries(sender, accepted)["email"] == ("pending", "The recipient has quiet hours")


def test_of_ten_within_the_limits_time_three_are_sent_and_seven_say_why_not(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    set_preferences(recipient, limits={"news": {"amount": 3, "seconds": 60}})
    accepted = [sender.notify(recipient, category="news", channels=["email"]) for _ in range(10)]
    other = sender.notify(recipient, category="general", channels=["email"])

    with ThreadPoolExecutor(3) as pool:  # several workers with small batches
        list(pool.map(lambda _: deliver(delivery_batch_size=2), range(3)))

    found = [get_deliveries(sender, notification)["email"] for notification in accepted]
    why = "Beyond the recipient's limit for the category news: 3 within 60 seconds"
    assert found.count(("delivered", None)) == 3
    assert found.count(("suppressed", why)) == 7
    assert sender.status(other) == "delivered"
    assert len(mail_server.mails_to(recipient)) == 4


def test_a_limit_of_the_settings_holds_for_who_has_said_nothing(
    sender: Caller, recipient: Caller, login: Callable[..., Caller], deliver: Deliver
) -> None:
    set_preferences(recipient, limits={"news": {"amount": 2, "seconds": 60}})
    people = [recipient, login()]
    for person in people:
        for _ in range(3):
            sender.notify(person, category="news", channels=["in_app"])

    deliver(category_limits={"news": RateLimit(amount=1, seconds=60)})

    assert [len(person.inbox()) for person in people] == [2, 1]


def test_what_is_tried_again_counts_once_against_the_limit(
    sender: Caller, recipient: Caller, deliver: Deliver, mail_server: MailServer
) -> None:
    set_preferences(recipient, limits={"news": {"amount": 1, "seconds": 60}})
    accepted = sender.notify(recipient, category="news", channels=["email"])
    deliver(smtp_port=1, delivery_first_delay_seconds=100)
    assert sender.status(accepted) == "pending"

    bring_forward(accepted["id"])
    deliver()

    assert sender.status(accepted) == "delivered"


def test_preferences_that_cannot_be_read_put_off_what_is_theirs_alone(
    sender: Caller, recipient: Caller, login: Callable[..., Caller], deliver: Deliver
) -> None:
    set_preferences(recipient, categories={"news": {"in_app": False}})
    later = text(
        "UPDATE communication_preferences SET preferences = :preferences WHERE user_id = :id"
    )
    with engine.begin() as connection:
        connection.execute(later, {"preferences": '{"telepathy": true}', "id": recipient.user_id})
    people = [login(), recipient, login()]
    accepted = [sender.notify(person, channels=["in_app"]) for person in people]
    login("*").notify(recipient, channels=["in_app"], category="security")

    deliver()

    assert [sender.status(each) for each in accepted] == ["delivered", "pending", "delivered"]
    assert [item["category"] for item in recipient.inbox()] == ["security"]
    why = "The recipient's preferences cannot be read"
    assert get_deliveries(sender, accepted[1]) == {"in_app": ("pending", why)}
