"""The HTTP API, mounted at /api/v1: one module per noun."""

from chassis.routing import APIRouter

from . import documents, files, search, sharing, versions

router = APIRouter()
for module in (documents, search, versions, files, sharing):
    router.include_router(module.router)
