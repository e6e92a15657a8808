"""Work that a service repeats beside its requests, in a task or a thread, as long as it runs.

A round of work returns True when there may be more to do at once; otherwise a pause follows. A
round that fails is logged and followed by a pause, too: the loop outlives an absent database.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from threading import Event, Thread

logger = logging.getLogger(__name__)

STOP_SECONDS = 2.0  # how long a service that stops waits for the round in progress


@asynccontextmanager
async def background_task(
    name: str, work: Callable[[], Awaitable[bool | None]], pause: float
) -> AsyncIterator[None]:
    """Repeat `work` in a task of this event loop until the block is left."""
    task = asyncio.create_task(_repeat(name, work, pause), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=STOP_SECONDS)


@asynccontextmanager
async def background_thread(
    name: str, work: Callable[[], bool | None], pause: float
) -> AsyncIterator[None]:
    """Repeat `work` in a thread until the block is left; a longer round ends with the process."""
    stopping = Event()
    arguments = [stopping, name, work, pause]
    thread = Thread(target=_repeat_in_thread, args=arguments, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        await asyncio.to_thread(thread.join, STOP_SECONDS)


async def _repeat(name: str, work: Callable[[], Awaitable[bool | None]], pause: float) -> None:
    log = FailureLog(name)
    while True:
        try:
            has_more = await work()
            log.record_success()
        except Exception:
            log.record_failure()
            has_more = False
        if not has_more:
            await asyncio.sleep(pause)


def _repeat_in_thread(
    stopping: Event, name: str, work: Callable[[], bool | None], pause: float
) -> None:
    log = FailureLog(name)
    while not stopping.is_set():
        try:
            has_more = work()
            log.record_success()
        except Exception:
            log.record_failure()
            has_more = False
        if not has_more:
            stopping.wait(pause)


class FailureLog:
    """Logs the first of several failures in a row, and the success that ends them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_failing = False

    def record_failure(self) -> None:
        """Log the exception being handled."""
        if not self._is_failing:
            logger.warning("%s failed and will be retried", self._name, exc_info=True)
        self._is_failing = True

    def record_success(self) -> None:
        if self._is_failing:
            logger.info("%s works again", self._name)
        self._is_failing = False
