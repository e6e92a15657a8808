"""The acme service. Start reading here."""

from chassis.app import create_app

from .api import router as api_router
from .health import router as health_router
from .settings import settings

app = create_app(settings, description="Keeps items, each owned by the user who created it.")
app.include_router(health_router)
app.include_router(api_router, prefix="/api/v1")
