"""The communication service. Start reading here; what its worker does starts in tasks.py."""

from chassis.app import create_app

from .api import router as api_router
from .health import router as health_router
from .settings import settings
from .streams import streams_of

app = create_app(settings, lifespan=streams_of)
app.include_router(health_router, tags=["Health"])
app.include_router(api_router, prefix="/api/v1", tags=["API"])
