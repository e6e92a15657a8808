"""Unreadable means invisible: a random world, seen by everybody in it, against a model of it.

People, roles, documents, permissions that hold or have run out, and a trash. Every route that
reads is asked as every person about every document. What the model says they may not see must look
like what never was: the same status, words, headers and, as a measure of the time it takes that
no busy machine can disturb, the same statements in the database.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from threading import current_thread
from typing import Any
from uuid import uuid4

import httpx
import pytest
from httpx import Response
from sqlalchemy import event

from content_service.database import engine
from content_service.main import app

from .conftest import Caller, Login, run_out, saved

LEVELS = ("read", "write", "manage")
FOR_MANAGERS = ("/permissions", "/share-links", "/audit")
NEVER_WAS = "01900000-0000-7000-8000-000000000000"

# Every GET of the API about one document, those of later days too.
PATHS = [
    path.removeprefix("/api/v1").replace("{number}", "1")
    for path, methods in app.openapi()["paths"].items()
    if "{document_id}" in path and "get" in methods
]


@dataclass
class Somebody:
    caller: Caller
    names: set[str]
    sees_all: bool = False


@dataclass
class Thing:
    """A document of the world. No other title has its word."""

    id: str
    word: str
    owner: Somebody
    size: int
    grants: dict[str, str]  # levels of those that hold, by grantee
    is_trashed: bool


def level(person: Somebody, thing: Thing) -> str | None:
    """The model: all that decides who may see and do what."""
    if thing.is_trashed:
        return None
    if person.sees_all:
        return "manage"
    theirs = [level for grantee, level in thing.grants.items() if grantee in person.names]
    return max(theirs, key=LEVELS.index, default=None)


@dataclass
class World:
    dice: random.Random
    login: Login
    common: str = ""  # a word in every document
    roles: list[str] = field(default_factory=list)
    people: list[Somebody] = field(default_factory=list)
    things: list[Thing] = field(default_factory=list)

    def word(self) -> str:
        return "".join(self.dice.choices("bcdfgklmnprtvz", k=20))

    def begin(self) -> None:
        self.common = self.word()
        self.roles = [f"role-{uuid4().hex[:12]}" for _ in range(4)]
        self.people = [Somebody(self.login("*"), set(), sees_all=True)]
        self.people += [self.somebody(roles) for roles in (0, 1, 1, 2, 4)]
        self.things = [self.thing() for _ in range(40)]

    def somebody(self, roles: int) -> Somebody:
        own = self.dice.sample(self.roles, roles)
        caller = self.login(roles=("member", *own))
        return Somebody(caller, {f"user:{caller.user_id}", *(f"role:{role}" for role in own)})

    def thing(self) -> Thing:
        owner = self.dice.choice(self.people[1:])
        word = self.word()
        document = owner.caller.create(title=f"About {word}", body=f"{self.common} {word}")
        if self.dice.random() < 0.3:
            owner.caller.change(document, tags=["changed"])
        grants = dict(self.grant(owner, document) for _ in range(self.dice.randrange(5)))
        holding = {grantee: level for grantee, level in grants.items() if level}
        link = {"policy": "latest"}
        saved(owner.caller.post(f"/documents/{document['id']}/share-links", json=link))
        owner.caller.read(document)  # so that it is in the cache
        is_trashed = self.dice.random() < 0.2
        if is_trashed:
            owner.caller.delete(f"/documents/{document['id']}")
        mine = {f"user:{owner.caller.user_id}": "manage"}
        size = document["size"]
        return Thing(document["id"], word, owner, size, {**holding, **mine}, is_trashed)

    def grant(self, owner: Somebody, document: dict[str, Any]) -> tuple[str, str]:
        """To whom, and the level; no level when its time is over by now."""
        others = [person.caller for person in self.people if person is not owner]
        everybody: list[Caller | str] = [*others, *self.roles]
        to = self.dice.choice(everybody)
        grantee = f"role:{to}" if isinstance(to, str) else f"user:{to.user_id}"
        level, time = self.dice.choice(LEVELS), self.dice.choice([None, None, "ahead", "over"])
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        owner.caller.share(document, to, level, expires_at=time and later)
        if time == "over":
            run_out(document, grantee)
        return grantee, "" if time == "over" else level


@pytest.fixture(scope="module")
def world(login: Login) -> World:
    world = World(random.Random(7), login)
    world.begin()
    return world


def ask(person: Somebody, *paths: str) -> list[Response]:
    """All at once, in the event loop of the app."""
    assert person.caller.portal
    return person.caller.portal.call(ask_at_once, person.caller, paths)


async def ask_at_once(caller: Caller, paths: Sequence[str]) -> list[Response]:
    headers = {**caller.headers, "If-None-Match": '"1"'}
    app_itself = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=app_itself, base_url=str(caller.base_url), headers=headers
    ) as client:
        return await asyncio.gather(*map(client.get, paths))


def about(path: str, things: Sequence[Thing] = ()) -> list[str]:
    """The path of what never was, and that of each thing."""
    return [path.format(document_id=id) for id in (NEVER_WAS, *(thing.id for thing in things))]


def told(response: Response) -> tuple[Any, ...]:
    """All of a refusal but the address that was asked for and the trace id."""
    body = response.json() if response.is_error else {}
    words = {name: body[name] for name in body if name not in ("instance", "trace_id")}
    return response.status_code, words, sorted(response.headers)


def needed(path: str) -> str:
    return "manage" if path.endswith(FOR_MANAGERS) else "read"


def is_right(response: Response, has: str | None, path: str, never: Response) -> bool:
    if has is None or never.is_success:  # whose trail an administrator reads even after the end
        return told(response) == told(never)
    if LEVELS.index(has) < LEVELS.index(needed(path)):
        return response.status_code == 403 and response.json()["code"] == "LevelTooLow"
    unread = path.endswith("/processing") and response.status_code == 404
    return response.is_success or response.status_code == 304 or unread


def test_on_every_route_everybody_sees_what_the_model_says(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    leaks, cases = [], 0
    for person, path in product(world.people, PATHS):
        never, *responses = ask(person, *about(path, world.things))
        for thing, response in zip(world.things, responses, strict=True):
            has = level(person, thing)
            if not is_right(response, has, path, never):
                leaks.append((path, has, response.status_code, response.text))
            cases += 1
    assert leaks == []
    assert cases > 2000
    record_property("cases of one document and one person", cases)


def pages(person: Somebody, path: str, **params: Any) -> list[dict[str, Any]]:
    """All items, from pages of seven."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = person.caller.get(path, params={**params, "limit": 7, "cursor": cursor}).json()
        items += page["items"]
        if (cursor := page["next_cursor"]) is None:
            return items


def seen(person: Somebody, world: World) -> list[Thing]:
    """Newest first."""
    return [thing for thing in reversed(world.things) if level(person, thing)]


def test_lists_and_searches_hold_what_the_model_says(world: World) -> None:
    for person in world.people:
        expected = [thing.id for thing in seen(person, world)]
        known = {thing.id for thing in world.things}

        listed = [item["id"] for item in pages(person, "/documents")] if not person.sees_all else []
        found = [item["id"] for item in pages(person, "/search", q=world.common)]

        assert person.sees_all or listed == expected
        assert sorted(found) == sorted(expected)
        assert known.issuperset(found)


def test_no_word_of_what_is_invisible_is_found_or_suggested(world: World) -> None:
    for person in world.people:
        found = ask(person, *(f"/search?q={thing.word}" for thing in world.things))
        offers = ask(person, *(f"/search/suggestions?q={t.word[:10]}" for t in world.things))
        for thing, hits, words in zip(world.things, found, offers, strict=True):
            is_seen = level(person, thing) is not None
            assert [hit["id"] for hit in hits.json()["items"]] == [thing.id] * is_seen
            assert words.json()["items"] == [thing.word] * is_seen


def test_the_trash_holds_what_one_may_restore(world: World) -> None:
    for person in world.people[1:]:
        mine = [
            thing.id
            for thing in reversed(world.things)
            if thing.is_trashed and level(person, replace(thing, is_trashed=False)) == "manage"
        ]

        assert [item["id"] for item in pages(person, "/trash")] == mine
        others = [thing.id for thing in world.things if thing.id not in mine]
        assert as_if_never(person, "restore", others)


def test_of_many_at_once_the_invisible_are_as_if_they_never_were(world: World) -> None:
    for person in world.people[1:]:
        ids = [thing.id for thing in world.things if level(person, thing) is None]

        assert as_if_never(person, "delete", ids)
        assert as_if_never(person, "tag", ids)


def as_if_never(person: Somebody, action: str, ids: list[str]) -> bool:
    tags = ["tag"] if action == "tag" else []
    request = {"action": action, "tags": tags, "document_ids": [NEVER_WAS, *ids]}
    never, *outcomes = person.caller.post("/documents/bulk", json=request).json()["results"]
    alike = ({**never, "document_id": id} for id in ids)
    return all(outcome == other for outcome, other in zip(outcomes, alike, strict=True))


def test_counts_are_of_what_is_visible(world: World) -> None:
    for person in world.people[1:]:
        things = seen(person, world)

        stats = person.caller.get("/documents/stats").json()

        assert stats["documents"] == len(things)
        assert stats["bytes"] == sum(thing.size for thing in things)
        assert stats["owned"] == sum(thing.owner is person for thing in things)
        assert sum(stats["by_type"].values()) == len(things)


def test_the_effective_permission_is_what_the_model_says(world: World) -> None:
    admin = world.people[0]
    things = [thing for thing in world.things if not thing.is_trashed]
    for person in world.people:
        query = f"permissions/effective?user={person.caller.user_id}"

        said = ask(admin, *(f"/documents/{thing.id}/{query}" for thing in things))

        levels = [answer.json()["level"] for answer in said]
        assert levels == [level(person, thing) for thing in things]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Those of requests: background work has threads of its own."""
    ran: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if current_thread().name.startswith("AnyIO"):
            ran.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_invisible_takes_the_same_statements_as_what_never_was(
    world: World, path: str
) -> None:
    person, thing = next(
        (person, thing)
        for person, thing in product(world.people[1:], world.things)
        if level(person, thing) is None
    )

    with statements() as imagined:
        ask(person, *about(path))
    with statements() as both:
        ask(person, *about(path, [thing]))

    assert sorted(both) == sorted(imagined * 2) != []
