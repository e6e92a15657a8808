"""The HTTP API, mounted at /api/v1."""

from fastapi import APIRouter

from . import dead_letters, endpoints, inbox, notifications, preferences, templates

router = APIRouter()
router.include_router(templates.router)
router.include_router(notifications.router)
router.include_router(inbox.router)
router.include_router(endpoints.router)
router.include_router(preferences.router)
router.include_router(dead_letters.router)
