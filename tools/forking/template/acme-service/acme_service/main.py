"""The acme service. Start reading here."""

from acme_service.api import router as api_router
from acme_service.health import router as health_router
from acme_service.settings import settings
from chassis.app import create_app

app = create_app(settings)
app.include_router(health_router, tags=["Health"])
app.include_router(api_router, prefix="/api/v1", tags=["API"])
