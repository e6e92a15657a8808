"""The background threads: each does a kind of work whenever there is some, in every process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from threading import Event, Thread
from typing import Any

from fastapi import FastAPI

from chassis.auth import ServiceAccount
from chassis.service_client import ServiceClient, run_from_thread

from .cleanup import tidy_up
from .extraction.worker import read_next
from .settings import settings
from .sharing.outbox import hand_over_due

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.25
FAREWELL_SECONDS = 2  # for a call that is under way when the service stops

Work = Callable[[], bool]
"""One round; False when nothing was due."""


@asynccontextmanager
async def background_work(app: FastAPI) -> AsyncIterator[None]:
    """Runs the threads as long as the app. What they leave undone, another process takes up."""
    stopping = Event()
    rounds: dict[str, tuple[Work, float]] = {
        "extraction": (read_next, IDLE_SECONDS),
        "housekeeping": (tidy_up, settings.cleanup_interval_seconds),
    }
    for name, work in rounds.items():
        Thread(target=repeat, args=[stopping, name, *work], name=name, daemon=True).start()
    given = [stopping, app.state.transport]
    notices = Thread(target=tell_people, args=given, name="notices", daemon=True)
    notices.start()
    yield
    stopping.set()
    await asyncio.to_thread(notices.join, FAREWELL_SECONDS)


def tell_people(stopping: Event, transport: Any) -> None:
    """With an account of its own, and closed here: a client belongs to one event loop."""
    account = ServiceAccount(settings, transport)
    communication = ServiceClient(
        settings.communication_service_url,
        settings.service_name,
        target="communication-service",
        account=account,
        transport=transport,
    )
    repeat(stopping, "notices", partial(hand_over_due, communication), IDLE_SECONDS)
    for client in (communication, account):
        run_from_thread(client.aclose)


def repeat(stopping: Event, name: str, work: Work, pause: float) -> None:
    while not stopping.wait(0 if done(name, work) else pause):
        pass


def done(name: str, work: Work) -> bool:
    try:
        return work()
    except Exception:  # the database may be away for a while: the thread must outlive that
        logger.exception("%s pauses", name)
        return False
