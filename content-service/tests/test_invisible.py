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

from .conftest import Caller, Login, expect_created, expire_grant

LEVELS = ("read", "write", "manage")
FOR_MANAGERS = ("/permissions", "/share-links", "/audit")
UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"

# Every GET of the API about one document, those of later days too.
PATHS = [
    path.removeprefix("/api/v1").replace("{number}", "1")
    for path, methods in app.openapi()["paths"].items()
    if "{document_id}" in path and "get" in methods
]


@dataclass
class Person:
    caller: Caller
    names: set[str]
    sees_all: bool = False


@dataclass
class KnownDocument:
    """A document of the world. No other title has its word."""

    id: str
    word: str
    owner: Person
    size: int
    grants: dict[str, str]  # levels of those that hold, by grantee
    is_trashed: bool


def get_expected_level(person: Person, thing: KnownDocument) -> str | None:
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
    people: list[Person] = field(default_factory=list)
    documents: list[KnownDocument] = field(default_factory=list)

    def make_word(self) -> str:
        return "".join(self.dice.choices("bcdfgklmnprtvz", k=20))

    def create(self) -> None:
        self.common = self.make_word()
        self.roles = [f"role-{uuid4().hex[:12]}" for _ in range(4)]
        self.people = [Person(self.login("*"), set(), sees_all=True)]
        self.people += [self.add_person(roles) for roles in (0, 1, 1, 2, 4)]
        self.documents = [self.add_document() for _ in range(40)]

    def add_person(self, roles: int) -> Person:
        own = self.dice.sample(self.roles, roles)
        caller = self.login(roles=("member", *own))
        return Person(caller, {f"user:{caller.user_id}", *(f"role:{role}" for role in own)})

    def add_document(self) -> KnownDocument:
        owner = self.dice.choice(self.people[1:])
        word = self.make_word()
        document = owner.caller.create(title=f"About {word}", body=f"{self.common} {word}")
        if self.dice.random() < 0.3:
            owner.caller.change(document, tags=["changed"])
        grants = dict(self.grant(owner, document) for _ in range(self.dice.randrange(5)))
        holding = {grantee: level for grantee, level in grants.items() if level}
        link = {"policy": "latest"}
        expect_created(owner.caller.post(f"/documents/{document['id']}/share-links", json=link))
        owner.caller.read(document)  # so that it is in the cache
        is_trashed = self.dice.random() < 0.2
        if is_trashed:
            owner.caller.delete(f"/documents/{document['id']}")
        mine = {f"user:{owner.caller.user_id}": "manage"}
        size = document["size"]
        return KnownDocument(document["id"], word, owner, size, {**holding, **mine}, is_trashed)

    def grant(self, owner: Person, document: dict[str, Any]) -> tuple[str, str]:
        """To whom, and the level; no level when its time is over by now."""
        others = [person.caller for person in self.people if person is not owner]
        everybody: list[Caller | str] = [*others, *self.roles]
        to = self.dice.choice(everybody)
        grantee = f"role:{to}" if isinstance(to, str) else f"user:{to.user_id}"
        level, time = self.dice.choice(LEVELS), self.dice.choice([None, None, "ahead", "over"])
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        owner.caller.share(document, to, level, expires_at=time and later)
        if time == "over":
            expire_grant(document, grantee)
        return grantee, "" if time == "over" else level


@pytest.fixture(scope="module")
def world(login: Login) -> World:
    world = World(random.Random(7), login)
    world.create()
    return world


def ask(person: Person, *paths: str) -> list[Response]:
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


def build_paths(path: str, things: Sequence[KnownDocument] = ()) -> list[str]:
    """The path of what never was, and that of each thing."""
    return [path.format(document_id=id) for id in (UNKNOWN_ID, *(thing.id for thing in things))]


def get_visible_parts(response: Response) -> tuple[Any, ...]:
    """All of a refusal but the address that was asked for and the trace id."""
    body = response.json() if response.is_error else {}
    words = {name: body[name] for name in body if name not in ("instance", "trace_id")}
    return response.status_code, words, sorted(response.headers)


def get_needed_level(path: str) -> str:
    return "manage" if path.endswith(FOR_MANAGERS) else "read"


def is_expected(response: Response, has: str | None, path: str, never: Response) -> bool:
    if has is None or never.is_success:  # whose trail an administrator reads even after the end
        return get_visible_parts(response) == get_visible_parts(never)
    if LEVELS.index(has) < LEVELS.index(get_needed_level(path)):
        return response.status_code == 403 and response.json()["code"] == "LevelTooLow"
    unread = path.endswith("/processing") and response.status_code == 404
    return response.is_success or response.status_code == 304 or unread


def test_on_every_route_everybody_sees_what_the_model_says(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    leaks, cases = [], 0
    for person, path in product(world.people, PATHS):
        never, *responses = ask(person, *build_paths(path, world.documents))
        for thing, response in zip(world.documents, responses, strict=True):
            has = get_expected_level(person, thing)
            if not is_expected(response, has, path, never):
                leaks.append((path, has, response.status_code, response.text))
            cases += 1
    assert leaks == []
    assert cases > 2000
    record_property("cases of one document and one person", cases)


def read_pages(person: Person, path: str, **params: Any) -> list[dict[str, Any]]:
    """All items, from pages of seven."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = person.caller.get(path, params={**params, "limit": 7, "cursor": cursor}).json()
        items += page["items"]
        if (cursor := page["next_cursor"]) is None:
            return items


def list_visible(person: Person, world: World) -> list[KnownDocument]:
    """Newest first."""
    return [thing for thing in reversed(world.documents) if get_expected_level(person, thing)]


def test_lists_and_searches_hold_what_the_model_says(world: World) -> None:
    for person in world.people:
        expected = [thing.id for thing in list_visible(person, world)]
        known = {thing.id for thing in world.documents}

        listed = (
            [item["id"] for item in read_pages(person, "/documents")] if not person.sees_all else []
        )
        found = [item["id"] for item in read_pages(person, "/search", q=world.common)]

        assert person.sees_all or listed == expected
        assert sorted(found) == sorted(expected)
        assert known.issuperset(found)


def test_no_word_of_what_is_invisible_is_found_or_suggested(world: World) -> None:
    for person in world.people:
        found = ask(person, *(f"/search?q={thing.word}" for thing in world.documents))
        offers = ask(person, *(f"/search/suggestions?q={t.word[:10]}" for t in world.documents))
        for thing, hits, words in zip(world.documents, found, offers, strict=True):
            is_seen = get_expected_level(person, thing) is not None
            assert [hit["id"] for hit in hits.json()["items"]] == [thing.id] * is_seen
            assert words.json()["items"] == [thing.word] * is_seen


def test_the_trash_holds_what_one_may_restore(world: World) -> None:
    for person in world.people[1:]:
        mine = [
            thing.id
            for thing in reversed(world.documents)
            if thing.is_trashed
            and get_expected_level(person, replace(thing, is_trashed=False)) == "manage"
        ]

        assert [item["id"] for item in read_pages(person, "/trash")] == mine
        others = [thing.id for thing in world.documents if thing.id not in mine]
        assert are_refused_as_unknown(person, "restore", others)


def test_of_many_at_once_the_invisible_are_as_if_they_never_were(world: World) -> None:
    for person in world.people[1:]:
        ids = [thing.id for thing in world.documents if get_expected_level(person, thing) is None]

        assert are_refused_as_unknown(person, "delete", ids)
        assert are_refused_as_unknown(person, "tag", ids)


def are_refused_as_unknown(person: Person, action: str, ids: list[str]) -> bool:
    tags = ["tag"] if action == "tag" else []
    request = {"action": action, "tags": tags, "document_ids": [UNKNOWN_ID, *ids]}
    never, *outcomes = person.caller.post("/documents/bulk", json=request).json()["results"]
    alike = ({**never, "document_id": id} for id in ids)
    return all(outcome == other for outcome, other in zip(outcomes, alike, strict=True))


def test_counts_are_of_what_is_visible(world: World) -> None:
    for person in world.people[1:]:
        things = list_visible(person, world)

        stats = person.caller.get("/documents/stats").json()

        assert stats["documents"] == len(things)
        assert stats["bytes"] == sum(thing.size for thing in things)
        assert stats["owned"] == sum(thing.owner is person for thing in things)
        assert sum(stats["by_type"].values()) == len(things)


def test_the_effective_permission_is_what_the_model_says(world: World) -> None:
    admin = world.people[0]
    things = [thing for thing in world.documents if not thing.is_trashed]
    for person in world.people:
        query = f"permissions/effective?user={person.caller.user_id}"

        said = ask(admin, *(f"/documents/{thing.id}/{query}" for thing in things))

        levels = [answer.json()["level"] for answer in said]
        assert levels == [get_expected_level(person, thing) for thing in things]


@contextmanager
def record_statements() -> Iterator[list[str]]:
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
        for person, thing in product(world.people[1:], world.documents)
        if get_expected_level(person, thing) is None
    )

    with record_statements() as imagined:
        ask(person, *build_paths(path))
    with record_statements() as both:
        ask(person, *build_paths(path, [thing]))

    assert sorted(both) == sorted(imagined * 2) != []
