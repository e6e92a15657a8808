"""The HTTP API, mounted at /api/v1."""

from fastapi import APIRouter

from . import endpoints, inbox, notifications, preferences, templates

router = APIRouter()
router.include_router(templates.router)
router.include_router(notifications.router)
router.include_router(inbox.router)
router.include_router(endpoints.router)
router.include_router(preferences.router)
