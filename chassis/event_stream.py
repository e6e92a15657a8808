"""Server-sent events from tables that grow, such as an inbox or the history of a run.

The table is the only source: a process asks it four times a second, in one query for all of its
streams, which of them have grown. No message has to arrive, so none can get lost, and a client that
reconnects to any replica with its Last-Event-ID continues where it stopped.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import anyio
from anyio.to_thread import run_sync
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sse_starlette import EventSourceResponse, ServerSentEvent

from .auth import User
from .background import background_task
from .errors import ServiceError, TooManyRequests, Unavailable

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
TOKEN_CHECK_SECONDS = 1.0  # how soon a revoked or expired token ends its streams
RETRY_AFTER_SECONDS = 5
SEND_TIMEOUT_SECONDS = 30

Key = TypeVar("Key")
Result = TypeVar("Result")
CheckToken = Callable[[], Awaitable[User]]


class TooManyStreams(TooManyRequests):
    """Raised when the caller has as many streams open as allowed."""


class StreamedEvent(BaseModel):
    """Describes an event of a stream, whose models derive from it: they say what `data` is."""

    # What has a default is always sent: without `event`, the kinds could not be told apart.
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    id: str | None = Field(
        None, description="The position; send the last one as `Last-Event-ID` to continue after it."
    )
    event: str
    data: Any

    def encode(self) -> ServerSentEvent:
        return ServerSentEvent(to_json(self.data).decode(), event=self.event, id=self.id)


class NoData(BaseModel):
    """Carries nothing: `{}`."""


class StreamOpened(StreamedEvent):
    """Comes first, with the position where the stream starts."""

    event: Literal["open"] = "open"
    data: NoData = NoData()


class EventStreamResponse(EventSourceResponse):
    """Declares its media type; a route adds its events: `responses={200: {"model": ...}}`."""

    # sse-starlette ends streams when the server stops, and drops clients that stop reading;
    # FastAPI's own response does neither.
    media_type = "text/event-stream"


class EventPage(NamedTuple):
    """The next events of a stream, oldest first; the id of each is its position."""

    events: Sequence[StreamedEvent]
    has_more: bool = False
    is_last: bool = False


@dataclass(frozen=True)
class EventSource(Generic[Key]):
    """How to read a table: what has grown, and what follows a position."""

    sessions: sessionmaker[Session]
    find_newest: Callable[[Session, Collection[Key]], Mapping[Key, int]]
    read_after: Callable[[Session, User, Key, int], EventPage]


class EventStreams(Generic[Key]):
    """Holds all streams of this process; they share one thread and one database connection."""

    def __init__(
        self, source: EventSource[Key], *, max_streams: int, max_streams_per_key: int | None = None
    ) -> None:
        self._source = source
        self._max_streams = max_streams
        self._max_streams_per_key = max_streams_per_key
        self._streams: dict[Key, list[EventStream[Key]]] = defaultdict(list)
        self._thread = anyio.CapacityLimiter(1)

    def run(self) -> AbstractAsyncContextManager[None]:
        """Look for new events in the background."""
        return background_task("event streams", self._poll, POLL_SECONDS)

    @contextmanager
    def open(self, key: Key, user: User, check_token: CheckToken) -> "Iterator[EventStream[Key]]":
        """Raise TooManyStreams, or Unavailable when another replica may have room."""
        self._check_limits(key)
        stream = EventStream(self, key, user, check_token)
        self._streams[key].append(stream)
        try:
            yield stream
        finally:
            self._streams[key].remove(stream)
            if not self._streams[key]:
                del self._streams[key]

    def _check_limits(self, key: Key) -> None:
        limit = self._max_streams_per_key
        if limit is not None and len(self._streams.get(key, ())) >= limit:
            headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            raise TooManyStreams("You have too many streams open; close one first", headers=headers)
        if sum(map(len, self._streams.values())) >= self._max_streams:
            message = "This server has too many streams open; try again in a few seconds"
            raise Unavailable(message, retry_after=RETRY_AFTER_SECONDS)

    async def find_newest(self, keys: Collection[Key]) -> Mapping[Key, int]:
        return await self._query(self._source.find_newest, keys)

    async def read_after(self, user: User, key: Key, position: int) -> EventPage:
        return await self._query(self._source.read_after, user, key, position)

    async def _query(self, function: Callable[..., Result], *args: Any) -> Result:
        def run() -> Result:
            with self._source.sessions() as session:
                return function(session, *args)

        return await run_sync(run, limiter=self._thread)

    async def _poll(self) -> None:
        if self._streams:
            newest = await self.find_newest(list(self._streams))
            for key, position in newest.items():
                for stream in self._streams.get(key, ()):
                    stream.notify(position)


class EventStream(Generic[Key]):
    """Sends what is added for one key to one client."""

    def __init__(
        self, streams: EventStreams[Key], key: Key, user: User, check_token: CheckToken
    ) -> None:
        self._streams = streams
        self._key = key
        self._user = user
        self._check_token = check_token
        self._position = 0
        self._has_grown = asyncio.Event()
        self.closing = anyio.Event()

    def notify(self, newest: int) -> None:
        if newest > self._position:
            self._has_grown.set()

    def respond(self, after: int | None = None, *, announce: bool = False) -> EventStreamResponse:
        return EventStreamResponse(
            self.read_events(after, announce),
            send_timeout=SEND_TIMEOUT_SECONDS,
            shutdown_event=self.closing,
            shutdown_grace_period=2 * TOKEN_CHECK_SECONDS,
        )

    async def read_events(
        self, after: int | None, announce: bool = False
    ) -> AsyncIterator[ServerSentEvent]:
        """Yield what follows a position, None being the newest, until the last or a failure.

        With `announce`, an event `open` comes first with the position, so that a client that sees
        nothing else can continue from there. After a failure, such as an expired token, the client
        reconnects and the response tells why.
        """
        try:
            self._position = await self._find_start(after)
            if announce:
                yield StreamOpened(id=str(self._position)).encode()
            while not self.closing.is_set():
                self._has_grown.clear()
                page = await self._streams.read_after(self._user, self._key, self._position)
                for event in page.events:
                    self._position = int(event.id or self._position)
                    yield event.encode()
                if page.is_last:
                    return
                await self._wait(page.has_more)
        except (ServiceError, SQLAlchemyError) as error:
            logger.info("an event stream ends: %s", error)

    async def _find_start(self, after: int | None) -> int:
        newest = (await self._streams.find_newest([self._key])).get(self._key, 0)
        return newest if after is None else min(after, newest)

    async def _wait(self, has_more: bool) -> None:
        """Wait for more events; the token is checked each second."""
        await self._recheck_user()
        while not (has_more or self._has_grown.is_set() or self.closing.is_set()):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_grown.wait(), TOKEN_CHECK_SECONDS)
            await self._recheck_user()

    async def _recheck_user(self) -> None:
        """A user whose rights have changed may no longer see the events: read them anew."""
        user = await self._check_token()
        if user != self._user:
            self._user = user
            self._has_grown.set()
