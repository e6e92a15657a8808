"""The workflow service. Start reading here; continue with engine/__init__.py."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fastapi import FastAPI

from chassis.app import create_app
from chassis.event_stream import EventStreams

from .api import router as api_router
from .api.ai import router as ai_router
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


app = create_app(settings, lifespan=open_neighbours)
app.include_router(health_router)
app.include_router(api_router, prefix="/api/v1", tags=["API"])
app.include_router(ai_router, prefix="/api/v1/ai", tags=["AI"])
