"""Each cell of the table in docs/revocation.md, with the change feed heard and without it."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from threading import Event
from uuid import uuid4

import httpx
import pyotp
import pytest
from fastapi.testclient import TestClient

from tools.localdev.services import ROOT

from .people import Person, Stack, ask, eventually, log_in, mails, new_key, service_token

Cell = tuple[str, str]  # what a token is, and the service to which it is shown
Record = Callable[[str, object], None]

HEARD_WITHIN = 1.0  # seconds, while the change feed is heard
STALENESS = 5.0  # seconds: AUTH_MAX_STALENESS_SECONDS
ONE_ANSWER = 0.5  # seconds
PATIENCE = 10.0  # seconds

PASSWORD, NEW_PASSWORD = "a password of the tests", "another password of the tests"
# A route of each service that asks for a permission.
GUARDED = {
    "identity": ("/users", "users:read"),
    "content": ("/documents", "documents:read"),
    "communication": ("/templates", "templates:read"),
    "workflow": ("/definitions", "definitions:read"),
}
FOLLOWERS = [service for service in GUARDED if service != "identity"]
ACCESS, REFRESH, KEY = "access token", "refresh token", "API key"
DELEGATED = "token on behalf of the person"
STATUS = {"stays": 200, "ends": 401, "loses the right": 403}


@dataclass
class Subject:
    """Somebody with one role, two logins and a key, and a service that acts for them."""

    admin: Person
    role: str
    here: Person
    elsewhere: Person
    key: Person
    acting: Person

    def shows(self, kind: str) -> Person:
        """Who has the token of that kind."""
        return {ACCESS: self.here, KEY: self.key, DELEGATED: self.acting}[kind]

    @property
    def path(self) -> str:
        return f"/users/{self.here.user_id}"

    @property
    def session(self) -> str:
        """What there is to revoke: the session that is not the one at hand."""
        sessions = self.elsewhere.get("identity", "/auth/sessions")["items"]
        return next(f"/auth/sessions/{s['id']}" for s in sessions if not s["is_current"])

    def administered(self, method: str, path: str, **change: object) -> httpx.Response:
        return self.admin.ask(method, "identity", path, json=change)


def new_subject(stack: Stack, admin: Person) -> Subject:
    name = f"role-{uuid4().hex}"
    permissions = [permission for _, permission in GUARDED.values()]
    admin.post("identity", "/roles", json={"name": name, "permissions": permissions})
    email = f"{uuid4().hex}@example.com"
    new = {"email": email, "password": PASSWORD, "name": "Tess Tester", "roles": [name]}
    admin.post("identity", "/users", json=new)
    # The mail with the link is on its way while the rest is made ready.
    ask(stack, "POST", "identity", "/api/v1/auth/forgot-password", json={"email": email})
    here, elsewhere = (log_in(stack, email, PASSWORD) for _ in range(2))
    acting = service_token(stack, "workflow", here.user_id)
    return Subject(admin, name, here, elsewhere, new_key(here, permissions), acting)


def changes_password(subject: Subject) -> httpx.Response:
    change = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    return subject.elsewhere.ask("POST", "identity", "/auth/change-password", json=change)


def resets_password(subject: Subject) -> httpx.Response:
    stack = subject.here.stack
    [mail] = eventually(lambda: mails(stack, subject.here.email, "/auth/reset-password"))
    [token] = re.findall(r"token=([\w-]+)", mail["text"])
    reset = {"token": token, "new_password": NEW_PASSWORD}
    return ask(stack, "POST", "identity", "/api/v1/auth/reset-password", json=reset)


def turns_on_second_factor(subject: Subject) -> httpx.Response:
    secret = subject.elsewhere.post("identity", "/auth/mfa/totp")["secret"]
    code = {"code": pyotp.TOTP(secret).now()}
    return subject.elsewhere.ask("POST", "identity", "/auth/mfa/totp/confirm", json=code)


def is_locked(subject: Subject) -> httpx.Response:
    until = datetime.now(UTC) + timedelta(hours=1)
    return subject.administered("PATCH", subject.path, locked_until=until.isoformat())


EVENTS: dict[str, Callable[[Subject], httpx.Response]] = {
    "logout": lambda s: s.here.ask("POST", "identity", "/auth/logout"),
    "session revoked": lambda s: s.elsewhere.ask("DELETE", "identity", s.session),
    "all sessions revoked": lambda s: s.elsewhere.ask("DELETE", "identity", "/auth/sessions"),
    "password changed": changes_password,
    "password reset": resets_password,
    "second factor turned on": turns_on_second_factor,
    "deactivated": lambda s: s.administered("PATCH", s.path, is_active=False),
    "deleted": lambda s: s.admin.ask("DELETE", "identity", s.path),
    "locked": is_locked,
    "role removed": lambda s: s.administered("PUT", f"{s.path}/roles", roles=[]),
    "permission removed from a role": lambda s: s.administered(
        "PATCH", f"/roles/{s.role}", permissions=[]
    ),
}


def table() -> dict[str, dict[Cell, int]]:
    """The document's: when that happens, the status of a token, at each service that takes it."""
    lines = (ROOT / "docs" / "revocation.md").read_text().splitlines()
    [_, *kinds], *rows = [line.strip("| ").split(" | ") for line in lines if " | " in line]
    return {
        event: {
            (kind, service): STATUS[word]
            for kind, word in zip(kinds, words, strict=True)
            for service in (["identity"] if kind == REFRESH else GUARDED)
        }
        for event, *words in rows
    }


TABLE = table()
CELLS = [(event, cell) for event, cells in TABLE.items() for cell in cells]
TOLD = [  # what a service learns from the change feed
    (event, cell)
    for event, cell in CELLS
    if cell[1] != "identity" and TABLE[event][cell] != STATUS["stays"]
]


def for_each(cells: list[tuple[str, Cell]]) -> pytest.MarkDecorator:
    names = [f"{event}: {kind} at {service}" for event, (kind, service) in cells]
    return pytest.mark.parametrize(("event", "cell"), cells, ids=names)


@dataclass(frozen=True)
class Seen:
    """What a token is worth in the end; when it was last good, and first seen to be less."""

    status: int
    good_until: float
    refused_after: float


@dataclass
class Watch:
    """Looks at the tokens of a subject. `asks` says with which status a service answers."""

    subject: Subject
    asks: Callable[[Person, str], int]

    def status(self, cell: Cell) -> int:
        kind, service = cell
        if kind == REFRESH:
            body = {"refresh_token": self.subject.here.refresh_token}
            path = "/api/v1/auth/refresh"
            return ask(self.subject.here.stack, "POST", service, path, json=body).status_code
        return self.asks(self.subject.shows(kind), service)

    def until(self, cell: Cell, expected: int, since: float) -> Seen:
        """Looks again and again; a busy machine may look late, and so sees a refusal late."""
        good_until, refused_after, passed = 0.0, PATIENCE, 0.0
        while passed < PATIENCE:
            passed = time.monotonic() - since
            status = self.status(cell)
            if status == STATUS["stays"]:
                good_until = passed
            else:
                refused_after = min(refused_after, passed)
            if status == expected:
                break
            time.sleep(0.01)
        return Seen(status, good_until, refused_after)


def happens(event: str, subject: Subject) -> float:
    """When it has happened."""
    assert EVENTS[event](subject).is_success
    return time.monotonic()


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Person:
    return log_in(stack, "admin@example.com")


@pytest.fixture(scope="module")
def afterwards(stack: Stack, admin: Person) -> Callable[[str], dict[Cell, Seen]]:
    """What becomes of a subject's tokens when something happens to it."""

    @cache
    def seen(event: str) -> dict[Cell, Seen]:
        watch = Watch(new_subject(stack, admin), at_stack)
        assert {watch.status(cell) for cell in TABLE[event] if cell[0] != REFRESH} == {200}
        since = happens(event, watch.subject)
        # What stays is looked at when the services have heard what happened.
        cells = sorted(TABLE[event], key=lambda cell: TABLE[event][cell] == STATUS["stays"])
        with ThreadPoolExecutor(len(GUARDED)) as pool:
            found = pool.map(lambda cell: watch.until(cell, TABLE[event][cell], since), cells)
            return dict(zip(cells, found, strict=True))

    return seen


def at_stack(person: Person, service: str) -> int:
    return person.ask("GET", service, GUARDED[service][0]).status_code


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
        note(record_property, event, cell, seen)
        assert seen.good_until < HEARD_WITHIN


def note(record: Record, what: str, cell: Cell, seen: Seen) -> None:
    if cell[0] == ACCESS:
        record(what, f"refused at {cell[1]} after {seen.refused_after:.2f} s")


# -- without the change feed --------------------------------------------------------------------


class Line(httpx.AsyncHTTPTransport):
    """The way to the identity of the stack; once `cut`, nothing is heard of its changes."""

    def __init__(self, url: str, cut: Event) -> None:
        super().__init__()
        self.url, self.cut = httpx.URL(url), cut

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
    """Services of our own, which hear the identity of the stack until the line is cut."""
    with ExitStack() as opened:
        clients = {}
        for service in FOLLOWERS:
            migrated(f"{service}-service")
            app = import_module(f"{service}_service.main").app
            app.state.transport = Line(stack.url("identity-service"), cut)
            opened.callback(setattr, app.state, "transport", None)
            clients[service] = opened.enter_context(TestClient(app))
        yield clients


@pytest.fixture(scope="module")
def unheard(
    stack: Stack, admin: Person, cut: Event, followers: dict[str, TestClient]
) -> dict[tuple[str, Cell], Seen]:
    """What becomes of tokens at services that hear of no change: all at once, as it takes long."""

    def asks(person: Person, service: str) -> int:
        headers = {"Authorization": f"Bearer {person.token}"}
        return followers[service].get(f"/api/v1{GUARDED[service][0]}", headers=headers).status_code

    watches = {event: Watch(new_subject(stack, admin), asks) for event in TABLE}
    assert {watches[event].status(cell) for event, cell in TOLD} == {200}
    cut.set()
    first, *others = watches
    since = {first: happens(first, watches[first].subject)}
    assert {watches[event].status(cell) for event, cell in TOLD if event == first} == {200}
    with ThreadPoolExecutor(len(FOLLOWERS)) as pool:
        since |= zip(
            others, pool.map(lambda e: happens(e, watches[e].subject), others), strict=True
        )
        seen = pool.map(lambda t: watches[t[0]].until(t[1], TABLE[t[0]][t[1]], since[t[0]]), TOLD)
        return dict(zip(TOLD, seen, strict=True))


@for_each(TOLD)
def test_a_service_that_hears_of_no_change_finds_out_when_its_knowledge_is_stale(
    stack: Stack,
    unheard: dict[tuple[str, Cell], Seen],
    event: str,
    cell: Cell,
    record_property: Record,
) -> None:
    seen = unheard[event, cell]

    assert seen.status == TABLE[event][cell]
    note(record_property, f"{event}, unheard", cell, seen)
    assert seen.good_until < STALENESS + ONE_ANSWER
