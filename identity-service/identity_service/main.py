"""The identity service. Start reading here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from chassis.app import create_app

from .api import router as api_router
from .api import unversioned_router, well_known
from .change_feed import listen_for_changes
from .cleanup import run_cleanup
from .database import engine
from .health import router as health_router
from .mail.outbox import run_outbox
from .rate_limits import RateLimiter
from .seed import wait_and_seed
from .settings import settings
from .token_validation import local_authentication


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.rate_limiter = RateLimiter(app.state.redis)
    await wait_and_seed(settings)
    async with listen_for_changes(app), run_outbox(app), run_cleanup(app):
        yield
    await engine.dispose()


app = create_app(
    settings,
    description="Registers users, logs them in and decides what they may do. "
    "Its access tokens and API keys are valid at all services.",
    lifespan=lifespan,
    authentication=local_authentication,
)
app.include_router(health_router)
app.include_router(api_router, prefix="/api/v1")
app.include_router(well_known.router)
# The specification's clients call these paths without the prefix.
app.include_router(unversioned_router, include_in_schema=False)
