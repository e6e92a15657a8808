"""The HTTP API, mounted at /api/v1."""

from chassis.routing import APIRouter

from . import dead_letters, inbox, notifications, preferences, templates, webhook_endpoints

router = APIRouter()
router.include_router(templates.router)
router.include_router(notifications.router)
router.include_router(inbox.router)
router.include_router(webhook_endpoints.router)
router.include_router(preferences.router)
router.include_router(dead_letters.router)
