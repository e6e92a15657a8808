"""A document that a user may not see is invisible: a random world, compared with a model of it.

Users, roles, documents, valid and expired grants, and a trash. Every route that reads is called as
every user for every document. For what the model hides, the response must be that for an unknown
document: the same status, words and headers, and the same statements in the database, which stand
for the time it takes and do not depend on how busy the machine is.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from threading import current_thread
from typing import Any

import httpx
import pytest
from httpx import Response
from sqlalchemy import event

from content_service.database import engine
from content_service.main import app

from .conftest import Caller, Login
from .world import LEVELS, KnownDocument, Person, World, get_expected_level

FOR_MANAGERS = ("/permissions", "/share-links", "/audit")
UNKNOWN_ID = "01900000-0000-7000-8000-000000000000"

# Every GET of the API about one document, including future ones.
PATHS = [
    path.removeprefix("/api/v1").replace("{number}", "1")
    for path, methods in app.openapi()["paths"].items()
    if "{document_id}" in path and "get" in methods
]


@pytest.fixture(scope="module")
def world(login: Login) -> World:
    world = World(random.Random(7), login)
    world.create()
    return world


def ask(person: Person, *paths: str) -> list[Response]:
    """Send all requests at once, in the event loop of the app."""
    assert person.caller.portal
    return person.caller.portal.call(ask_at_once, person.caller, paths)


async def ask_at_once(caller: Caller, paths: Sequence[str]) -> list[Response]:
    headers = {**caller.headers, "If-None-Match": '"1"'}
    app_itself = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=app_itself, base_url=str(caller.base_url), headers=headers
    ) as client:
        return await asyncio.gather(*map(client.get, paths))


def build_paths(path: str, docs: Sequence[KnownDocument] = ()) -> list[str]:
    """Build the path of an unknown document, and that of each doc."""
    return [path.format(document_id=id) for id in (UNKNOWN_ID, *(doc.id for doc in docs))]


def get_visible_parts(response: Response) -> tuple[Any, ...]:
    """Return everything of a response except its address and trace id."""
    body = response.json() if response.is_error else {}
    words = {name: body[name] for name in body if name not in ("instance", "trace_id")}
    return response.status_code, words, sorted(response.headers)


def get_needed_level(path: str) -> str:
    return "manage" if path.endswith(FOR_MANAGERS) else "read"


def is_expected(response: Response, has: str | None, path: str, never: Response) -> bool:
    if has is None or never.is_success:  # the audit trail, which an administrator reads for any id
        return get_visible_parts(response) == get_visible_parts(never)
    if LEVELS.index(has) < LEVELS.index(get_needed_level(path)):
        return response.status_code == 403 and response.json()["code"] == "LevelTooLow"
    unread = path.endswith("/processing") and response.status_code == 404
    return response.is_success or response.status_code == 304 or unread


def test_on_every_route_each_user_sees_what_the_model_says(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    leaks = []
    cases = 0
    for person, path in product(world.people, PATHS):
        never, *responses = ask(person, *build_paths(path, world.documents))
        for doc, response in zip(world.documents, responses, strict=True):
            has = get_expected_level(person, doc)
            if not is_expected(response, has, path, never):
                leaks.append((path, has, response.status_code, response.text))
            cases += 1
    assert leaks == []
    assert cases > 2000
    record_property("cases of one document and one person", cases)


def read_pages(person: Person, path: str, **params: Any) -> list[dict[str, Any]]:
    """Return all items, read in pages of seven."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = person.caller.get(path, params={**params, "limit": 7, "cursor": cursor}).json()
        items += page["items"]
        if (cursor := page["next_cursor"]) is None:
            return items


def list_visible(person: Person, world: World) -> list[KnownDocument]:
    """Return the documents the person may see, newest first."""
    return [doc for doc in reversed(world.documents) if get_expected_level(person, doc)]


def test_lists_and_searches_hold_what_the_model_says(world: World) -> None:
    for person in world.people:
        expected = [doc.id for doc in list_visible(person, world)]
        known = {doc.id for doc in world.documents}

        listed = (
            [item["id"] for item in read_pages(person, "/documents")] if not person.sees_all else []
        )
        found = [item["id"] for item in read_pages(person, "/search", q=world.common)]

        assert person.sees_all or listed == expected
        assert sorted(found) == sorted(expected)
        assert known.issuperset(found)


def test_no_word_of_an_invisible_document_is_found_or_suggested(world: World) -> None:
    for person in world.people:
        found = ask(person, *(f"/search?q={doc.word}" for doc in world.documents))
        offers = ask(person, *(f"/search/suggestions?q={t.word[:10]}" for t in world.documents))
        for doc, hits, words in zip(world.documents, found, offers, strict=True):
            is_seen = get_expected_level(person, doc) is not None
            assert [hit["id"] for hit in hits.json()["items"]] == [doc.id] * is_seen
            assert words.json()["items"] == [doc.word] * is_seen


def test_the_trash_shows_what_the_user_may_restore(world: World) -> None:
    for person in world.people[1:]:
        mine = [
            doc.id
            for doc in reversed(world.documents)
            if doc.is_trashed
            and get_expected_level(person, replace(doc, is_trashed=False)) == "manage"
        ]

        assert [item["id"] for item in read_pages(person, "/trash")] == mine
        others = [doc.id for doc in world.documents if doc.id not in mine]
        assert are_refused_as_unknown(person, "restore", others)


def test_bulk_outcomes_for_invisible_documents_are_those_for_unknown_ones(world: World) -> None:
    for person in world.people[1:]:
        ids = [doc.id for doc in world.documents if get_expected_level(person, doc) is None]

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
        docs = list_visible(person, world)

        stats = person.caller.get("/documents/stats").json()

        assert stats["documents"] == len(docs)
        assert stats["bytes"] == sum(doc.size for doc in docs)
        assert stats["owned"] == sum(doc.owner is person for doc in docs)
        assert sum(stats["by_type"].values()) == len(docs)


def test_the_effective_permission_is_what_the_model_says(world: World) -> None:
    admin = world.people[0]
    docs = [doc for doc in world.documents if not doc.is_trashed]
    for person in world.people:
        query = f"permissions/effective?user={person.caller.user_id}"

        said = ask(admin, *(f"/documents/{doc.id}/{query}" for doc in docs))

        levels = [answer.json()["level"] for answer in said]
        assert levels == [get_expected_level(person, doc) for doc in docs]


@contextmanager
def record_statements() -> Iterator[list[str]]:
    """Record the statements of requests; background work runs in other threads."""
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
def test_an_invisible_document_takes_the_same_statements_as_an_unknown_one(
    world: World, path: str
) -> None:
    person, doc = next(
        (person, doc)
        for person, doc in product(world.people[1:], world.documents)
        if get_expected_level(person, doc) is None
    )

    with record_statements() as imagined:
        ask(person, *build_paths(path))
    with record_statements() as both:
        ask(person, *build_paths(path, [doc]))

    assert sorted(both) == sorted(imagined * 2) != []
