"""A run as it happens: its history, line by line, sent on as soon as it is written.

The table is the truth. A stream asks it four times a second, says which line each event is, and
ends with the run; whoever comes back says what they have seen last and misses nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from time import monotonic
from uuid import UUID

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sse_starlette import ServerSentEvent

from chassis.auth import User
from chassis.errors import ServiceError, Unavailable

from .database import session_maker
from .models import Event
from .schemas.workflows import EventRead
from .workflows import get_workflow

LOOK_SECONDS = 0.25
CHECK_SECONDS = 1.0  # how soon a token that has ended ends its streams
MOST_STREAMS = 100  # of a process: each asks the database four times a second
PAGE = 100

CheckToken = Callable[[], Awaitable[User]]


class Streams:
    """One thread and one connection at most for all streams of the process."""

    def __init__(self) -> None:
        self._open, self._counting = 0, Lock()
        self._in_turn = CapacityLimiter(1)

    @contextmanager
    def room(self) -> Iterator[None]:
        """Raises Unavailable where another replica may have some."""
        with self._counting:
            if self._open >= MOST_STREAMS:
                raise Unavailable("Too many runs are followed", retry_after=5)
            self._open += 1
        try:
            yield
        finally:
            with self._counting:
                self._open -= 1

    async def events(
        self, user: User, run_id: UUID, after: int, check: CheckToken
    ) -> AsyncIterator[ServerSentEvent]:
        checked = monotonic()
        try:
            while True:
                lines, has_ended = await run_sync(look, user, run_id, after, limiter=self._in_turn)
                for line in lines:
                    after = line.id
                    data = EventRead.model_validate(line, from_attributes=True).model_dump_json()
                    yield ServerSentEvent(event=line.type, id=str(line.id), data=data)
                if has_ended and not lines:
                    yield ServerSentEvent(event="end", data="{}")
                    return
                if monotonic() > checked + CHECK_SECONDS:
                    user, checked = await check(), monotonic()
                await asyncio.sleep(0 if lines else LOOK_SECONDS)
        except (ServiceError, SQLAlchemyError):
            return  # the client comes back, and is told why in the answer to that


def look(user: User, run_id: UUID, after: int) -> tuple[Sequence[Event], bool]:
    """The next lines, and whether the run had ended before they were looked for."""
    with session_maker() as session:
        has_ended = get_workflow(session, user, run_id).finished_at is not None
        lines = select(Event).where(Event.run_id == run_id, Event.id > after).order_by(Event.id)
        return session.scalars(lines.limit(PAGE)).all(), has_ended
