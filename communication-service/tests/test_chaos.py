"""Two thousand deliveries to servers that fail at random, while processes are killed repeatedly.

What was accepted and what has arrived are then counted, by different parties: they are the same.
CHAOS_NOTIFICATIONS is how many there are; each is sent twice.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import create_engine, make_url, text

from communication_service.settings import SERVICE_FOLDER
from tools.localdev.fake_identity import FakeIdentity, Person
from tools.localdev.test_servers import TemporaryServers

from .conftest import MEMBER, MailServer, running_mail_server
from .processes import Processes, is_ready, running_processes, wait_for
from .webhook_sink import DROPPED, Sink, running_sink

NOTIFICATIONS = int(os.environ.get("CHAOS_NOTIFICATIONS", "1000"))  # each by mail and to a webhook
VICTIMS = ("worker", "redis", "another-worker", "service", "scheduler")
KILLS = 10
REFUSED_ONE_IN = 40


def is_refused(delivery_id: str) -> bool:
    return int(delivery_id.replace("-", ""), 16) % REFUSED_ONE_IN == 0


class MoodyMailServer(MailServer):
    """Accepts an email, accepts it without an answer, or refuses it for now or for good."""

    dice = random.Random(1)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        head = envelope.content.partition(b"Message-ID: <")[2]
        if is_refused(head.partition(b"@")[0].decode()):
            return "550 Never"
        mood = self.dice.random()
        if mood < 0.15:
            return "451 Later"
        answer = await super().handle_DATA(server, session, envelope)
        if mood < 0.25:
            server.transport.close()  # type: ignore[union-attr]
        return answer


class MoodySink(Sink):
    dice = random.Random(2)

    def answer(self, webhook_id: str) -> tuple[int, dict[str, str]]:
        if is_refused(webhook_id):
            return 400, {}
        mood = self.dice.random()
        status = 503 if mood < 0.15 else DROPPED if mood < 0.25 else 200
        return status, {}


@pytest.fixture
def database(servers: TemporaryServers) -> str:
    """Creates a database of its own, so that everything in it can be counted."""
    url = servers.postgres.create_database("chaos", "communication_chaos")
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=SERVICE_FOLDER,
        env={"DATABASE_URL": url, "PYTHONPATH": str(SERVICE_FOLDER.parent)},
        check=True,
        capture_output=True,
    )
    return url


def test_what_was_accepted_has_arrived_whatever_was_killed(
    database: str, identity: FakeIdentity, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    sender, recipient = identity.add_person(*MEMBER, "queue:read"), identity.add_person()
    settings = {
        "DATABASE_URL": database,
        "WEBHOOK_ALLOW_HOSTS": "127.0.0.1",
        "DELIVERY_BATCH_SIZE": "100",
        "DELIVERY_BATCH_SECONDS": "1",
        "DELIVERY_LEASE_SECONDS": "3",
        "DELIVERY_FIRST_DELAY_SECONDS": "0.2",
        "DELIVERY_MAX_DELAY_SECONDS": "1",
    }
    with (
        running_mail_server(MoodyMailServer) as mail_server,
        running_sink(MoodySink) as sink,
        running_processes(tmp_path, identity, mail_server, settings) as processes,
    ):
        processes.start("another-worker", "another-scheduler")
        add_endpoint(processes.url, recipient, sink.url)
        client = httpx.Client(base_url=f"{processes.url}/api/v1", headers=sender.headers)
        with client, ThreadPoolExecutor(4) as pool:
            sends = [
                pool.submit(send, client, recipient, number) for number in range(NOTIFICATIONS)
            ]
            kills = kill_until(processes, lambda: is_over(processes.url, sender, sends))
        status = queue_status(processes.url, sender)

    by_status = status["deliveries"]
    assert status["accepted"] == 2 * NOTIFICATIONS == len(set(results(sends))) * 2
    assert (
        by_status["delivered"] + by_status["suppressed"] + by_status["dead"] == status["accepted"]
    )
    mails = {mail["Message-ID"].partition("@")[0].strip("<") for mail in mail_server.received}
    hooks = {webhook_id for webhook_id in sink.ids if not is_refused(webhook_id)}
    assert mails == delivered(database, "email")
    assert hooks == delivered(database, "webhook")
    assert len(mails) + len(hooks) == by_status["delivered"]
    assert by_status["dead"] > 0
    again = len(mail_server.received) + len(sink.ids) - by_status["delivered"]
    record_property("chaos", f"{kills} kills, {again} repeated with the same id, 0 lost")


def results(sends: list[Future[str]]) -> list[str]:
    return [send.result() for send in sends]


def send(client: httpx.Client, recipient: Person, number: int) -> str:
    """Sends as a careful client does: with an idempotency key, until there is an answer."""
    new = {
        "recipient_id": recipient.user_id,
        "channels": ["email", "webhook"],
        "subject": f"Number {number}",
        "body": "News.",
    }
    headers = {"Idempotency-Key": str(number)}
    while True:
        try:
            response = client.post("/notifications", json=new, headers=headers)
        except httpx.TransportError:
            time.sleep(0.2)
            continue
        if response.status_code == 202:
            return str(response.json()["id"])
        assert response.status_code in (409, 503), response.text
        time.sleep(0.2)


def add_endpoint(url: str, recipient: Person, target: str) -> None:
    where = f"{url}/api/v1/webhook-endpoints"
    httpx.post(where, json={"url": target}, headers=recipient.headers).raise_for_status()


def kill_until(processes: Processes, is_over: Callable[[], bool]) -> int:
    """Kills one process after the other with -9, and restarts each at once."""
    until, kills = time.monotonic() + 240, 0
    for victim in cycle(VICTIMS):
        time.sleep(1.5)
        if kills == KILLS and is_over():
            return kills
        if kills < KILLS:
            processes.kill(victim)
            processes.start(victim)
            kills += 1
        assert time.monotonic() < until, "it takes too long"
    raise AssertionError


def is_over(url: str, sender: Person, sends: list[Future[str]]) -> bool:
    if not all(send.done() for send in sends):
        return False
    try:
        waiting = queue_status(url, sender)["deliveries"]
    except httpx.HTTPError:
        return False
    return bool(waiting["pending"] + waiting["running"] == 0)


def queue_status(url: str, sender: Person) -> dict[str, Any]:
    wait_for(lambda: is_ready(url))
    answer = httpx.get(f"{url}/api/v1/queue/status", headers=sender.headers)
    return dict(answer.raise_for_status().json())


def delivered(database: str, channel: str) -> set[str]:
    engine = create_engine(make_url(database).set(drivername="postgresql+psycopg2"))
    statement = text(
        "SELECT id::text FROM communication_deliveries"
        " WHERE channel = :channel AND status = 'delivered'"
    )
    with engine.connect() as connection:
        found = set(connection.scalars(statement, {"channel": channel}))
    engine.dispose()
    return found
