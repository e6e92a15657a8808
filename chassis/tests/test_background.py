"""Background work: rounds, pauses, failures, and the end of the service."""

import asyncio
import logging
import threading
import time
from contextlib import AsyncExitStack

import pytest

from chassis.background import STOP_SECONDS, background_task, background_thread


class Work:
    """Counts its rounds; the first `failures` fail, and the first `more` say there is more."""

    def __init__(self, failures: int = 0, more: int = 0) -> None:
        self.failures = failures
        self.more = more
        self.rounds = 0

    def run(self) -> bool:
        self.rounds += 1
        if self.rounds <= self.failures:
            raise ConnectionError("no database")
        return self.rounds <= self.more

    async def run_async(self) -> bool:
        return self.run()


async def run_both(work: Work, other: Work, pause: float, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(background_task("task", work.run_async, pause))
        await stack.enter_async_context(background_thread("thread", other.run, pause))
        await asyncio.sleep(seconds)


async def test_work_is_repeated_at_once_while_there_is_more() -> None:
    both = Work(more=3), Work(more=3)

    await run_both(*both, pause=60, seconds=0.2)

    assert [work.rounds for work in both] == [4, 4]


async def test_work_pauses_when_there_is_none() -> None:
    both = Work(), Work()

    await run_both(*both, pause=0.05, seconds=0.5)

    assert all(2 <= work.rounds <= 11 for work in both)


async def test_failures_end_no_loop_and_are_logged_once_in_a_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    both = Work(failures=3), Work(failures=3)

    await run_both(*both, pause=0.01, seconds=0.5)

    assert all(work.rounds > 4 for work in both)
    for name in ("task", "thread"):
        mine = [r.getMessage() for r in caplog.records if r.getMessage().startswith(name)]
        assert mine == [f"{name} failed and will be retried", f"{name} works again"]


async def test_a_task_is_over_when_its_block_is_left() -> None:
    ended = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async with background_task("task", wait, pause=0):
        await asyncio.sleep(0)

    assert ended == [True]


async def test_a_thread_that_goes_on_delays_the_stop_for_a_limited_time() -> None:
    release = threading.Event()

    def wait() -> None:
        release.wait(60)

    async with background_thread("slow", wait, pause=0):
        stopped = time.monotonic()

    assert STOP_SECONDS - 0.5 < time.monotonic() - stopped < STOP_SECONDS + 1
    release.set()
