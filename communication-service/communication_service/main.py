"""The API of the communication service. Start reading here; its worker starts in celery_app.py."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from fastapi import FastAPI

from chassis.app import create_app
from chassis.untrusted_http import UntrustedHttpClient

from .api import router as api_router
from .health import router as health_router
from .inbox.streams import open_streams
from .settings import settings


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.webhook_client = UntrustedHttpClient(settings.webhook_allow_hosts)
    async with aclosing(app.state.webhook_client), open_streams(app):
        yield


app = create_app(
    settings,
    description="Notifies users by email, SMS, webhook and in an inbox, as they prefer. What is"
    " accepted is delivered, also after failures.",
    lifespan=lifespan,
)
app.include_router(health_router)
app.include_router(api_router, prefix="/api/v1")
