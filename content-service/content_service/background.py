"""The work that every process does beside its requests: extraction, cleanup, notifications."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from chassis.background import background_thread

from .cleanup import run_cleanup
from .extraction.worker import ExtractionWorker
from .settings import Settings
from .sharing.outbox import OUTBOX

POLL_SECONDS = 0.25


@asynccontextmanager
async def run_background_work(app: FastAPI) -> AsyncIterator[None]:
    """Run the work as long as the app; what this process leaves unfinished, another takes over."""
    settings: Settings = app.state.settings

    def extract_next() -> bool:
        return ExtractionWorker(app.state.settings).process_next()

    def clean_up() -> bool:
        return run_cleanup(app.state.settings)

    async with (
        background_thread("extraction", extract_next, POLL_SECONDS),
        background_thread("cleanup", clean_up, settings.cleanup_interval_seconds),
        OUTBOX.run(app, settings.communication_service_url, app.state.account, POLL_SECONDS),
    ):
        yield
