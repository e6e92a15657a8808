"""What every process of the service does beside its requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from chassis.background import background_thread

from .cleanup import tidy_up
from .extraction.worker import read_next
from .settings import Settings
from .sharing.outbox import OUTBOX

POLL_SECONDS = 0.25


@asynccontextmanager
async def run_background_work(app: FastAPI) -> AsyncIterator[None]:
    """Work that a process leaves unfinished is taken over by another one."""
    settings: Settings = app.state.settings
    async with (
        background_thread("extraction", read_next, POLL_SECONDS),
        background_thread("cleanup", tidy_up, settings.cleanup_interval_seconds),
        OUTBOX.run(app, settings.communication_service_url, app.state.account, POLL_SECONDS),
    ):
        yield
