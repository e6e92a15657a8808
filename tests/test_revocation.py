"""Tests each cell of the table in docs/revocation.md, with and without the change feed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from threading import Event

import httpx
import pytest
from fastapi.testclient import TestClient

from .revocation_cases import (
    ACCESS,
    CELLS,
    FEED_CELLS,
    GUARDED_PATHS,
    REFRESH,
    STATUS,
    TABLE,
    Cell,
    Seen,
    Watch,
    create_subject,
    for_each,
    trigger,
)
from .users import (
    Person,
    Stack,
    log_in,
)

Record = Callable[[str, object], None]

FEED_SECONDS = 1.0  # bound while services follow the change feed
STALENESS_SECONDS = 5.0  # AUTH_MAX_STALENESS_SECONDS
ANSWER_SECONDS = 0.5
FOLLOWERS = [service for service in GUARDED_PATHS if service != "identity"]


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Person:
    return log_in(stack, "admin@example.com")


@pytest.fixture(scope="module")
def afterwards(stack: Stack, admin: Person) -> Callable[[str], dict[Cell, Seen]]:
    """Return a function that causes an event and watches the subject's tokens."""

    @cache
    def seen(event: str) -> dict[Cell, Seen]:
        watch = Watch(create_subject(stack, admin), request_status)
        assert {watch.get_status(cell) for cell in TABLE[event] if cell[0] != REFRESH} == {200}
        since = trigger(event, watch.subject)
        # Tokens that stay valid are checked last, when the services know about the event.
        cells = sorted(TABLE[event], key=lambda cell: TABLE[event][cell] == STATUS["stays"])
        with ThreadPoolExecutor(len(GUARDED_PATHS)) as pool:
            found = pool.map(lambda cell: watch.poll_until(cell, TABLE[event][cell], since), cells)
            return dict(zip(cells, found, strict=True))

    return seen


def request_status(person: Person, service: str) -> int:
    return person.request("GET", service, GUARDED_PATHS[service][0]).status_code


@for_each(CELLS)
def test_a_token_is_worth_what_the_table_says_within_a_second(
    stack: Stack,
    afterwards: Callable[[str], dict[Cell, Seen]],
    event: str,
    cell: Cell,
    record_property: Record,
) -> None:
    seen = afterwards(event)[cell]

    assert seen.status == TABLE[event][cell]
    if seen.status != STATUS["stays"]:
        record_seconds(record_property, event, cell, seen)
        assert seen.good_until < FEED_SECONDS


def record_seconds(record: Record, what: str, cell: Cell, seen: Seen) -> None:
    if cell[0] == ACCESS:
        record(what, f"refused at {cell[1]} after {seen.refused_after:.2f} s")


# -- without the change feed --------------------------------------------------------------------


class FeedTransport(httpx.AsyncHTTPTransport):
    """Forwards requests to identity; once `cut` is set, the change feed fails."""

    def __init__(self, url: str, cut: Event) -> None:
        super().__init__()
        self.url = httpx.URL(url)
        self.cut = cut

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host=self.url.host, port=self.url.port)
        response = await super().handle_async_request(request)
        if self.cut.is_set() and request.url.path.endswith("/auth/changes"):
            raise httpx.ReadError("the line is cut", request=request)
        return response


@pytest.fixture(scope="module")
def cut() -> Event:
    return Event()


@pytest.fixture(scope="module")
def followers(
    stack: Stack, cut: Event, migrated: Callable[[str], None]
) -> Iterator[dict[str, TestClient]]:
    """Start services in this process that follow the stack's identity until `cut` is set."""
    with ExitStack() as opened:
        clients = {}
        for service in FOLLOWERS:
            migrated(f"{service}-service")
            app = import_module(f"{service}_service.main").app
            app.state.transport = FeedTransport(stack.get_url("identity-service"), cut)
            opened.callback(setattr, app.state, "transport", None)
            clients[service] = opened.enter_context(TestClient(app))
        yield clients


@pytest.fixture(scope="module")
def unheard(
    stack: Stack, admin: Person, cut: Event, followers: dict[str, TestClient]
) -> dict[tuple[str, Cell], Seen]:
    """Watch the tokens at services without the change feed, all events at once."""

    def asks(person: Person, service: str) -> int:
        headers = {"Authorization": f"Bearer {person.token}"}
        return (
            followers[service]
            .get(f"/api/v1{GUARDED_PATHS[service][0]}", headers=headers)
            .status_code
        )

    watches = {event: Watch(create_subject(stack, admin), asks) for event in TABLE}
    assert {watches[event].get_status(cell) for event, cell in FEED_CELLS} == {200}
    cut.set()
    first, *others = watches
    since = {first: trigger(first, watches[first].subject)}
    assert {watches[event].get_status(cell) for event, cell in FEED_CELLS if event == first} == {
        200
    }
    with ThreadPoolExecutor(len(FOLLOWERS)) as pool:
        since |= zip(
            others, pool.map(lambda e: trigger(e, watches[e].subject), others), strict=True
        )
        seen = pool.map(
            lambda t: watches[t[0]].poll_until(t[1], TABLE[t[0]][t[1]], since[t[0]]), FEED_CELLS
        )
        return dict(zip(FEED_CELLS, seen, strict=True))


@for_each(FEED_CELLS)
def test_a_service_that_hears_of_no_change_finds_out_when_its_knowledge_is_stale(
    stack: Stack,
    unheard: dict[tuple[str, Cell], Seen],
    event: str,
    cell: Cell,
    record_property: Record,
) -> None:
    seen = unheard[event, cell]

    assert seen.status == TABLE[event][cell]
    record_seconds(record_property, f"{event}, unheard", cell, seen)
    assert seen.good_until < STALENESS_SECONDS + ANSWER_SECONDS
