"""The live inbox, over the network: several replicas, real tokens that end."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from chassis.auth import User
from chassis.event_stream import EventStreams
from communication_service.database import session_maker
from communication_service.inbox.service import add_items
from communication_service.inbox.streams import INBOXES, PAGE_SIZE
from communication_service.settings import SERVICE_FOLDER
from tools.localdev.child_process import start_child, stop_child
from tools.localdev.fake_identity import FakeIdentity, Person
from tools.localdev.servers import reserve_free_port
from tools.localdev.services import SERVICES
from tools.localdev.test_servers import TemporaryServers

from .conftest import Caller
from .inbox_listener import listening
from .processes import is_ready, serve_identity, wait_for

Deliver = Callable[..., None]

Start = Callable[..., tuple[str, Path, Callable[[], None]]]


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory, servers: TemporaryServers, identity: FakeIdentity
) -> Iterator[Start]:
    """Returns a function that runs a replica and returns its URL, its log and a way to stop it."""
    (service,) = [service for service in SERVICES if service.short == "communication"]
    folder = tmp_path_factory.mktemp("replicas")
    with serve_identity(identity) as identity_url, ExitStack() as running:

        def start(**variables: str) -> tuple[str, Path, Callable[[], None]]:
            port = reserve_free_port()
            environment = {
                **servers.get_environment(service),
                "PYTHONPATH": f"{SERVICE_FOLDER}:{SERVICE_FOLDER.parent}",
                "SERVICE_PORT": str(port),
                "IDENTITY_SERVICE_URL": identity_url,
                **variables,
            }
            command, log = [sys.executable, str(SERVICE_FOLDER / "main.py")], folder / f"{port}.log"
            stop = partial(stop_child, start_child(command, log, environment))
            running.callback(stop)
            wait_for(partial(is_ready, url := f"http://127.0.0.1:{port}"))
            return url, log, stop

        yield start


@pytest.fixture(scope="module")
def replicas(start: Start) -> list[str]:
    few_connections = {"DATABASE_POOL_SIZE": "2", "DATABASE_MAX_OVERFLOW": "0"}
    few_streams = {"INBOX_STREAMS_PER_USER": "2", "INBOX_STREAMS": "3"}
    return [start(**few_connections)[0], start(**few_streams)[0]]


def test_a_new_item_is_seen_within_a_second_on_every_replica(
    replicas: list[str], sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    with ExitStack() as stack:
        listeners = [stack.enter_context(listening(url, recipient)) for url in replicas]
        stranger = stack.enter_context(listening(replicas[0], sender))
        time.sleep(0.5)  # everything has arrived
        sender.notify(recipient, channels=["in_app"], subject="Fresh")

        deliver()
        arrived = time.monotonic()

        for listener in listeners:
            wait_for(partial(listener.has_heard, 1))
            assert listener.events[-1]["at"] - arrived < 1
        (item,) = recipient.inbox()
        assert json.loads(listeners[0].events[-1]["data"]) == item
        assert stranger.subjects == []


def test_a_client_that_reconnects_to_another_replica_has_missed_nothing(
    replicas: list[str], sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    with listening(replicas[0], recipient) as listener:
        nothing_seen = listener.last_event_id
    for number in range(45):
        sender.notify(recipient, channels=["in_app"], subject=str(number))
    deliver()
    arrived = [item["subject"] for item in reversed(recipient.inbox())]
    recipient.put(f"/inbox/{recipient.inbox()[7]['id']}/archive")

    with listening(replicas[1], recipient, nothing_seen) as listener:
        wait_for(partial(listener.has_heard, 45))
        assert listener.subjects == arrived
        tenth_seen = listener.events[10]["id"]
    with listening(replicas[0], recipient, tenth_seen) as listener:
        wait_for(partial(listener.has_heard, 35))
        assert listener.subjects == arrived[10:]
    with listening(replicas[0], recipient, str(2**63 - 1)) as listener:
        assert listener.last_event_id == "45"  # a position from another database


def test_what_is_committed_in_another_order_than_it_was_made_is_not_skipped(
    replicas: list[str], sender: Caller, recipient: Caller
) -> None:
    first, second = (item_for(sender, recipient, subject) for subject in ("first", "second"))

    with listening(replicas[0], recipient) as listener, ThreadPoolExecutor() as pool:
        with session_maker.begin() as slow:
            add_items(slow, [first])
            later = pool.submit(put, second)
            time.sleep(0.7)
            assert not later.done()
            assert listener.subjects == []
        later.result()

        wait_for(partial(listener.has_heard, 2))
        assert listener.subjects == ["first", "second"]


def test_batches_for_the_same_people_do_not_wait_for_each_other_in_a_circle(
    sender: Caller, login: Callable[..., Caller]
) -> None:
    people = [login() for _ in range(4)]
    batches = [
        [item_for(sender, person, "Hi") for person in order] for order in (people, people[::-1]) * 4
    ]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda batch: put(*batch), batches))

    assert [len(person.inbox()) for person in people] == [8] * 4


def test_streams_hold_no_connection_to_the_database(replicas: list[str], recipient: Caller) -> None:
    with ExitStack() as stack:
        for _ in range(5):  # on a replica with two connections
            stack.enter_context(listening(replicas[0], recipient))

        url = f"{replicas[0]}/api/v1/inbox"
        answers = [httpx.get(url, headers=recipient.headers) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5


def test_a_revoked_token_ends_its_streams_and_no_others(
    replicas: list[str], identity: FakeIdentity, login: Callable[..., Caller]
) -> None:
    person, other = identity.add_person(), identity.add_person()
    with listening(replicas[0], person) as ending, listening(replicas[0], other) as staying:
        identity.revoke(person)

        assert ending.ended.wait(3)
        assert not staying.ended.is_set()
    again = httpx.get(f"{replicas[0]}/api/v1/inbox/stream", headers=person.headers)
    assert again.status_code == 401


def test_an_expired_token_ends_its_stream(replicas: list[str], identity: FakeIdentity) -> None:
    person = identity.add_person()
    ends_at = datetime.now(UTC) + timedelta(seconds=2)
    identity.answers[person.token]["expires_at"] = ends_at.isoformat()
    with listening(replicas[0], person) as listener:
        time.sleep(1)
        assert not listener.ended.is_set()
        del identity.answers[person.token]  # as identity does with an expired token

        assert listener.ended.wait(4)


def test_a_replica_that_stops_ends_its_streams_without_a_fuss(
    start: Start, recipient: Caller
) -> None:
    url, log, stop = start()
    with listening(url, recipient) as listener:
        began = time.monotonic()
        stop()

        assert listener.ended.wait(1)
        assert time.monotonic() - began < 5
        assert "ERROR" not in log.read_text()


def test_streams_are_limited_per_person_and_per_process(
    replicas: list[str], identity: FakeIdentity
) -> None:
    person, other = identity.add_person(), identity.add_person()
    url = f"{replicas[1]}/api/v1/inbox/stream"
    with ExitStack() as stack:
        for listener in (person, person, other):
            stack.enter_context(listening(replicas[1], listener))

        one_too_many = httpx.get(url, headers=person.headers)
        full = httpx.get(url, headers=identity.add_person().headers)

    assert (one_too_many.status_code, one_too_many.json()["code"]) == (429, "TooManyStreams")
    assert (full.status_code, full.headers["Retry-After"]) == (503, "5")
    wait_for(lambda: has_room(replicas[1], person))


def test_who_was_away_for_long_catches_up_without_waiting_for_the_next_look(
    sender: Caller, recipient: Caller
) -> None:
    user = User(recipient.user_id, None, (), frozenset(), datetime.now(UTC))
    put(*[item_for(sender, recipient, f"No. {number}") for number in range(2 * PAGE_SIZE + 1)])

    async def check_token() -> User:
        return user

    async def catch_up() -> list[str]:
        heard: list[str] = []
        streams = EventStreams(INBOXES, max_streams=1)  # without the background task
        with streams.open(user.user_id, user, check_token) as stream:
            async with asyncio.timeout(10):
                async for event in stream.read_events(after=0):
                    heard += [str(event.id)] if event.event == "item" else []
                    if len(heard) > 2 * PAGE_SIZE:
                        stream.closing.set()
        return heard

    assert asyncio.run(catch_up()) == [str(position + 1) for position in range(2 * PAGE_SIZE + 1)]


@pytest.mark.parametrize("position", ["-1", "x", str(2**63)])
def test_a_position_that_cannot_be_is_refused_by_name(sender: Caller, position: str) -> None:
    response = sender.get("/inbox/stream", headers={"Last-Event-ID": position})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "last-event-id"


def has_room(url: str, person: Person) -> bool:
    """Return whether another stream can be opened, as soon as closed ones no longer count."""
    try:
        with listening(url, person):
            return True
    except AssertionError:
        return False


def item_for(sender: Caller, recipient: Caller, subject: str) -> dict[str, Any]:
    """Return an item as the worker makes it; its delivery is cancelled, so it is made only here."""
    accepted = sender.notify(recipient, channels=["in_app"], subject=subject)
    sender.post(f"/notifications/{accepted['id']}/cancel")
    return dict(
        delivery_id=UUID(accepted["deliveries"][0]["id"]),
        notification_id=UUID(accepted["id"]),
        user_id=recipient.user_id,
        sender_id=sender.user_id,
        category="general",
        subject=subject,
        body="News.",
    )


def put(*items: dict[str, Any]) -> None:
    with session_maker.begin() as session:
        add_items(session, items)
