"""The HTTP API, mounted at /api/v1: one module per noun."""

from chassis.routing import APIRouter

from . import documents, integrity, processing, search, share_links, sharing, trash, versions

router = APIRouter()
for module in (documents, search, versions, processing, sharing, share_links, trash, integrity):
    router.include_router(module.router)
