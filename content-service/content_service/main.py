"""The content service. Start reading here."""

from chassis.app import create_app

from .api import router as api_router
from .background import run_background_work
from .health import router as health_router
from .settings import settings

app = create_app(
    settings,
    description="Stores documents with their versions, searches them and shares them. "
    "Only the owner of a document sees it, and those with whom it is shared.",
    lifespan=run_background_work,
)
app.include_router(health_router)
app.include_router(api_router, prefix="/api/v1")
