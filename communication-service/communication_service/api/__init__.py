"""The HTTP API, mounted at /api/v1."""

from chassis.routing import APIRouter

from . import (
    dead_letters,
    inbox,
    notifications,
    preferences,
    suppressions,
    templates,
    webhook_endpoints,
)

router = APIRouter()
for module in (
    notifications,
    inbox,
    preferences,
    suppressions,
    templates,
    webhook_endpoints,
    dead_letters,
):
    router.include_router(module.router)
