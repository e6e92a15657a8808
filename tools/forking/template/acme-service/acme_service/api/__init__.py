"""The HTTP API, mounted at /api/v1: one module per noun."""

from chassis.routing import APIRouter

from . import items

router = APIRouter()
router.include_router(items.router)
