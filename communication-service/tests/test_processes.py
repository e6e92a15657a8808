"""The real processes, killed with -9 while they work."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from communication_service.database import engine
from communication_service.settings import SERVICE_FOLDER
from tools.localdev.fake_identity import FakeIdentity, Person
from tools.localdev.services import SERVICES
from tools.localdev.test_servers import TemporaryServers

from .conftest import MEMBER, running_mail_server
from .processes import Processes, is_ready, running_processes, wait_for


class People:
    """Holds a sender and a recipient, who call the service over the network."""

    def __init__(self, url: str, identity: FakeIdentity) -> None:
        self.recipient: Person = identity.add_person(name="Rita Reviewer")
        sender = identity.add_person(*MEMBER)
        self.to = httpx.Client(base_url=f"{url}/api/v1", headers=sender.headers, timeout=10)
        self.by = httpx.Client(base_url=f"{url}/api/v1", headers=self.recipient.headers, timeout=10)

    def notify(self, **fields: Any) -> dict[str, Any]:
        new = {"recipient_id": self.recipient.user_id, "subject": "Hi", "body": "Hi", **fields}
        response = self.to.post("/notifications", json=new)
        assert response.status_code == 202, response.text
        return dict(response.json())

    def status(self, notification: dict[str, Any]) -> str:
        return str(self.to.get(f"/notifications/{notification['id']}").json()["status"])

    def unread(self) -> int:
        return int(self.by.get("/inbox/unread-count").json()["unread"])


@pytest.fixture(scope="module")
def processes(
    tmp_path_factory: pytest.TempPathFactory, servers: TemporaryServers, identity: FakeIdentity
) -> Iterator[Processes]:
    (service,) = [service for service in SERVICES if service.short == "communication"]
    quick = {"DELIVERY_BATCH_SECONDS": "1", "DELIVERY_LEASE_SECONDS": "3"}
    environment = {**servers.get_environment(service), **quick}
    folder = tmp_path_factory.mktemp("processes")
    with (
        running_mail_server() as mail_server,
        running_processes(folder, identity, mail_server, environment) as processes,
    ):
        yield processes


@pytest.fixture
def people(processes: Processes, identity: FakeIdentity) -> Iterator[People]:
    people = People(processes.url, identity)
    with people.to, people.by:
        yield people


BACKLOG = text("""
    WITH made AS (
        INSERT INTO communication_notifications
            (id, sender_id, recipient_id, category, subject, body, created_at)
        SELECT gen_random_uuid(), :person, :person, 'newsletter', 'News', 'News', now()
        FROM generate_series(1, 10000) RETURNING id
    )
    INSERT INTO communication_deliveries
        (id, notification_id, channel, priority, status, run_at, queued_at, attempts, fence)
    SELECT gen_random_uuid(), id, 'email', 2, 'pending', now(), now(), 0, 0 FROM made
""")

ADVANCE = text("""
    UPDATE communication_deliveries SET
        run_at = run_at - :hours * interval '1 hour',
        queued_at = queued_at - :hours * interval '1 hour',
        lease_until = lease_until - :hours * interval '1 hour'
    WHERE status IN ('pending', 'running')
""")

CLEAR = text("""
    UPDATE communication_deliveries SET status = 'cancelled'
    WHERE priority = 2 AND status IN ('pending', 'running')
""")


def test_kill_9_and_an_emptied_redis_change_nothing_but_the_time(
    processes: Processes, people: People
) -> None:
    mail_server = processes.mail_server
    mail_server.pause = 0.1  # so that many are still waiting when the worker dies
    accepted = [people.notify() for _ in range(60)]
    wait_for(lambda: len(mail_server.mails_to(people.recipient)) > 5)
    processes.kill("worker", "scheduler")
    assert len(mail_server.mails_to(people.recipient)) < 60
    assert processes.redis.send_command("FLUSHALL").startswith("+OK")
    mail_server.pause = 0

    processes.start("worker", "scheduler")
    wait_for(lambda: {people.status(notification) for notification in accepted} == {"delivered"})

    mails = {mail["Message-ID"] for mail in mail_server.mails_to(people.recipient)}
    assert mails == get_message_ids(accepted)
    assert people.unread() == 60


def get_message_ids(accepted: list[dict[str, Any]]) -> set[str]:
    """Return the Message-IDs of their emails."""
    return {
        f"<{delivery['id']}@example.com>"
        for notification in accepted
        for delivery in notification["deliveries"]
        if delivery["channel"] == "email"
    }


def test_a_clock_that_jumps_changes_nothing_but_the_time(
    processes: Processes, people: People
) -> None:
    mail_server = processes.mail_server
    mail_server.pause = 0.05  # so that some are being sent
    accepted = [people.notify() for _ in range(40)]
    wait_for(lambda: len(mail_server.mails_to(people.recipient)) > 5)

    advance_clock(hours=-2)
    time.sleep(1)
    advance_clock(hours=4)
    mail_server.pause = 0
    wait_for(lambda: {people.status(notification) for notification in accepted} == {"delivered"})

    mails = {mail["Message-ID"] for mail in mail_server.mails_to(people.recipient)}
    assert mails == get_message_ids(accepted)
    assert people.unread() == 40


def advance_clock(hours: int) -> None:
    """Moves all times of the queue back, which is the same as moving its clock forward."""
    with engine.begin() as connection:
        connection.execute(text("LOCK communication_deliveries IN EXCLUSIVE MODE"))
        connection.execute(ADVANCE, {"hours": hours})


def test_hints_go_on_after_redis_was_emptied(processes: Processes, people: People) -> None:
    first = people.notify()
    wait_for(lambda: people.status(first) == "delivered")
    processes.kill("scheduler")  # so that only a wake-up message can reach the worker
    assert processes.redis.send_command("FLUSHALL").startswith("+OK")
    time.sleep(1)

    accepted = people.notify()

    wait_for(lambda: people.status(accepted) == "delivered", seconds=5)
    processes.start("scheduler")


def test_without_redis_notifications_are_accepted_and_with_it_they_are_delivered(
    processes: Processes, people: People
) -> None:
    mail_server = processes.mail_server
    mail_server.pause = 0.3
    accepted = [people.notify() for _ in range(10)]
    wait_for(lambda: bool(mail_server.mails_to(people.recipient)))  # the worker is sending
    processes.kill("redis")
    began = time.monotonic()
    accepted.append(people.notify())
    assert time.monotonic() - began < 3
    assert people.status(accepted[-1]) == "pending"
    mail_server.pause = 0

    processes.start("redis")

    wait_for(lambda: {people.status(each) for each in accepted} == {"delivered"})


def test_a_redis_that_hangs_delays_no_one(processes: Processes, people: People) -> None:
    redis = psutil.Process(processes.running["redis"].pid).children()[0]
    redis.suspend()
    try:
        began = time.monotonic()
        accepted = [people.notify() for _ in range(20)]
        assert time.monotonic() - began < 10
    finally:
        redis.resume()

    wait_for(lambda: {people.status(notification) for notification in accepted} == {"delivered"})


def test_a_scheduled_notification_goes_out_when_everything_was_restarted(
    processes: Processes, people: People
) -> None:
    in_two_hours = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7200))
    accepted, cancelled = (people.notify(send_at=in_two_hours) for _ in range(2))
    people.to.post(f"/notifications/{cancelled['id']}/cancel").raise_for_status()
    processes.kill("redis", "service", "worker", "scheduler")

    processes.start("redis", "service", "worker", "scheduler")

    wait_for(lambda: is_ready(processes.url))
    assert people.status(accepted) == "pending"
    advance_clock(hours=2)
    wait_for(lambda: people.status(accepted) == "delivered")
    (mail,) = processes.mail_server.mails_to(people.recipient)
    assert mail["Message-ID"] in get_message_ids([accepted])
    assert people.unread() == 1
    assert not (SERVICE_FOLDER / "celerybeat-schedule").exists()


def test_a_password_reset_passes_ten_thousand_newsletters(
    processes: Processes, people: People, identity: FakeIdentity
) -> None:
    mail_server, subscriber = processes.mail_server, identity.add_person(name="Sue Subscriber")
    mail_server.pause = 0.02  # as long as a real one takes
    with engine.begin() as connection:
        connection.execute(BACKLOG, {"person": subscriber.user_id})
    wait_for(lambda: len(mail_server.mails_to(subscriber)) > 20)

    began = time.monotonic()
    people.notify(channels=["email"], priority="urgent")
    wait_for(lambda: bool(mail_server.mails_to(people.recipient)))

    assert time.monotonic() - began < 2
    assert len(mail_server.mails_to(subscriber)) < 5_000
    with engine.begin() as connection:
        connection.execute(CLEAR)
    mail_server.pause = 0
