"""The workflow service. Start reading here; continue with engine/__init__.py."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fastapi import FastAPI

from chassis.app import create_app
from chassis.event_stream import EventStreams

from .api import router as api_router
from .health import router as health_router
from .neighbours import create_neighbours
from .settings import settings
from .streams import MAX_STREAMS, RUN_HISTORIES


@asynccontextmanager
async def open_neighbours(app: FastAPI) -> AsyncIterator[None]:
    """Give app.state the clients for other services and models, and the live streams."""
    app.state.neighbours = create_neighbours(settings, app.state.account, app.state.transport)
    app.state.streams = EventStreams(RUN_HISTORIES, max_streams=MAX_STREAMS)
    async with aclosing(app.state.neighbours), app.state.streams.run():
        yield


app = create_app(
    settings,
    description="Runs workflows: steps that people, models and services do, as a definition says."
    " A run goes on after any failure, and each of its steps can be followed.",
    lifespan=open_neighbours,
)
app.include_router(health_router)
app.include_router(api_router, prefix="/api/v1")
