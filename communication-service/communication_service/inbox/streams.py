"""Live inboxes: what arrives is sent on at once, by whichever replica its owner is connected to.

The inbox in the database is all there is to it: a replica asks four times a second, in one query
for all of its streams, which inboxes have grown. It needs to be told nothing, so nothing gets lost.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Concatenate, ParamSpec, TypeVar

from anyio import CapacityLimiter, Event
from anyio.to_thread import run_sync
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sse_starlette import ServerSentEvent

from chassis.auth import User
from chassis.errors import ServiceError, TooManyRequests, Unavailable

from ..database import session_maker
from ..models import InboxItem
from ..schemas.inbox import InboxItemRead
from ..settings import Settings
from . import service as inbox

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
CHECK_SECONDS = 1.0  # how soon a token that has ended ends its streams
PAGE = 20
RETRY_AFTER = 5  # seconds

Answer = TypeVar("Answer")
Given = ParamSpec("Given")
CheckToken = Callable[[], Awaitable[User]]


class TooManyStreams(TooManyRequests):
    """The caller follows their inbox often enough."""


class Database:
    """One thread and one connection at most for all streams, and none while nothing happens."""

    def __init__(self) -> None:
        self._in_turn = CapacityLimiter(1)

    async def ask(
        self,
        question: Callable[Concatenate[Session, Given], Answer],
        *args: Given.args,
        **kwargs: Given.kwargs,
    ) -> Answer:
        def answer() -> Answer:
            with session_maker() as session:
                return question(session, *args, **kwargs)

        return await run_sync(answer, limiter=self._in_turn)


class Follower:
    """One stream: whose, how far it is, a bell for when there is more, and one for the end."""

    def __init__(self, user: User, check_token: CheckToken, database: Database) -> None:
        self._user, self._check_token, self._database = user, check_token, database
        self._position = 0
        self._grown = asyncio.Event()
        self.leave = Event()

    def hear(self, newest: int) -> None:
        if newest > self._position:
            self._grown.set()

    async def events(self, after: int | None) -> AsyncIterator[ServerSentEvent]:
        """Ends with the token or when something fails; whoever comes back has missed nothing."""
        try:
            yield await self._start(after)
            while not self.leave.is_set():
                self._grown.clear()
                arrived = await self._arrived()
                for item in arrived:
                    self._position = item.position
                    yield event_of(item)
                if len(arrived) == PAGE:
                    self._grown.set()  # there may be more, and nothing to wait for
                await self._wait()
        except (ServiceError, SQLAlchemyError) as error:
            logger.info("a stream ends: %s", error)

    async def _start(self, after: int | None) -> ServerSentEvent:
        """Says where the inbox is, so that also who sees nothing else can come back to there."""
        positions = await self._database.ask(inbox.newest, [self._user.user_id])
        newest = positions.get(self._user.user_id, 0)
        self._position = newest if after is None else min(after, newest)
        return ServerSentEvent(event="open", id=str(self._position), data="{}")

    async def _arrived(self) -> Sequence[InboxItem]:
        return await self._database.ask(inbox.items_after, self._user, self._position, PAGE)

    async def _wait(self) -> None:
        await self._check_token()
        while not self._grown.is_set() and not self.leave.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._grown.wait(), CHECK_SECONDS)
            await self._check_token()


def event_of(item: InboxItem) -> ServerSentEvent:
    data = InboxItemRead.model_validate(item).model_dump_json()
    return ServerSentEvent(event="item", id=str(item.position), data=data)


class Streams:
    """All followers in this process, by whom they follow."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database()
        self._followers: dict[str, list[Follower]] = defaultdict(list)

    @contextmanager
    def follow(self, user: User, check_token: CheckToken) -> Iterator[Follower]:
        """Raises TooManyStreams, or Unavailable where another replica may have room."""
        self._refuse_too_many(user.user_id)
        follower = Follower(user, check_token, self._database)
        self._followers[user.user_id].append(follower)
        try:
            yield follower
        finally:
            self._followers[user.user_id].remove(follower)
            if not self._followers[user.user_id]:
                del self._followers[user.user_id]

    def _refuse_too_many(self, user_id: str) -> None:
        if len(self._followers.get(user_id, ())) >= self._settings.inbox_streams_per_user:
            headers = {"Retry-After": str(RETRY_AFTER)}
            raise TooManyStreams("You follow your inbox too often at a time", headers=headers)
        if sum(map(len, self._followers.values())) >= self._settings.inbox_streams:
            raise Unavailable("Too many inboxes are followed", retry_after=RETRY_AFTER)

    async def watch(self) -> None:
        """For ever; a failure is made up for by the next look."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except SQLAlchemyError as error:
                logger.warning("inboxes cannot be looked at: %s", error)

    async def _look(self) -> None:
        if not self._followers:
            return
        positions = await self._database.ask(inbox.newest, list(self._followers))
        for user_id, newest in positions.items():
            for follower in self._followers.get(user_id, ()):
                follower.hear(newest)


@asynccontextmanager
async def streams_of(app: FastAPI) -> AsyncIterator[None]:
    """Gives app.state its `streams`."""
    app.state.streams = Streams(app.state.settings)
    watcher = asyncio.create_task(app.state.streams.watch())
    yield
    watcher.cancel()
    await asyncio.gather(watcher, return_exceptions=True)
