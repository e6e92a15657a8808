"""Streams of events from a table, here a list in memory: see the services' tests for real ones."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from chassis.auth import User
from chassis.errors import Unauthenticated, Unavailable
from chassis.event_stream import (
    EventPage,
    EventSource,
    EventStream,
    EventStreams,
    NoData,
    StreamedEvent,
    TooManyStreams,
)

ADA = User("ada", None, (), frozenset(), datetime.now(UTC))
PAGE_SIZE = 2


class Table:
    """Lines by key; a line "end" is the last of its stream."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.polls = 0

    def find_newest(self, _: Session, keys: Collection[str]) -> dict[str, int]:
        self.polls += 1
        return {key: len(self.lines[key]) for key in keys if key in self.lines}

    def read_after(self, _: Session, user: User, key: str, position: int) -> EventPage:
        lines = self.lines.get(key, [])[position : position + PAGE_SIZE]
        numbers = range(position + 1, position + 1 + len(lines))
        events = [
            StreamedEvent(event=line, id=str(number), data=NoData())
            for number, line in zip(numbers, lines, strict=True)
        ]
        return EventPage(events, len(lines) == PAGE_SIZE, is_last="end" in lines)


async def accept_token() -> User:
    return ADA


def open_streams(table: Table, **limits: Any) -> EventStreams[str]:
    source = EventSource(sessionmaker(), table.find_newest, table.read_after)
    return EventStreams(source, **{"max_streams": 10, **limits})


async def read(stream: EventStream[str], after: int | None, **options: Any) -> list[Any]:
    async with asyncio.timeout(5):
        return [(e.event, e.id) async for e in stream.read_events(after, **options)]


async def test_a_stream_continues_after_a_position_page_by_page_to_its_end() -> None:
    table = Table()
    table.lines["a"] = ["one", "two", "three", "four", "end"]

    with open_streams(table).open("a", ADA, accept_token) as stream:
        events = await read(stream, after=1)

    assert events == [("two", "2"), ("three", "3"), ("four", "4"), ("end", "5")]


async def test_a_stream_announces_where_it_starts_at_most_at_the_newest() -> None:
    table = Table()
    table.lines["a"] = ["one"]
    streams = open_streams(table)

    async def start(after: int | None) -> str | None:
        with streams.open("a", ADA, accept_token) as stream:
            event = await anext(stream.read_events(after, announce=True))
            assert event.event == "open"
            return event.id

    assert [await start(after) for after in (None, 0, 99)] == ["1", "0", "1"]


async def test_what_is_added_reaches_every_stream_with_one_query_for_all() -> None:
    table = Table()
    streams = open_streams(table)
    async with streams.run():
        with (
            streams.open("a", ADA, accept_token) as first,
            streams.open("a", ADA, accept_token) as second,
        ):
            reading = asyncio.gather(read(first, 0), read(second, 0))
            await asyncio.sleep(0.6)
            table.lines["a"] = ["one", "end"]
            table.polls = 0

            assert list(await reading) == [[("one", "1"), ("end", "2")]] * 2

    assert table.polls == 1


async def test_nothing_is_polled_while_there_is_no_stream() -> None:
    table = Table()

    async with open_streams(table).run():
        await asyncio.sleep(0.6)

    assert table.polls == 0


async def test_a_token_that_is_refused_ends_its_stream() -> None:
    async def refuse_token() -> User:
        raise Unauthenticated()

    with open_streams(Table()).open("a", ADA, refuse_token) as stream:
        assert await read(stream, after=0) == []


async def test_streams_are_limited_per_key_and_in_all() -> None:
    streams = open_streams(Table(), max_streams=2, max_streams_per_key=1)
    with streams.open("a", ADA, accept_token):
        with pytest.raises(TooManyStreams), streams.open("a", ADA, accept_token):
            pass
        with (
            streams.open("b", ADA, accept_token),
            pytest.raises(Unavailable),
            streams.open("c", ADA, accept_token),
        ):
            pass

    with streams.open("a", ADA, accept_token):
        pass
