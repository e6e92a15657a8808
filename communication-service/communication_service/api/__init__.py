"""The HTTP API, mounted at /api/v1."""

from chassis.routing import APIRouter

from . import dead_letters, inbox, notifications, preferences, templates, webhook_endpoints

router = APIRouter()
for module in (templates, notifications, inbox, webhook_endpoints, preferences, dead_letters):
    router.include_router(module.router)
