"""The HTTP API, mounted at /api/v1: one module per noun."""

from chassis.routing import APIRouter

from . import audit, documents, files, permissions, search, share_links, trash, versions

router = APIRouter()
for module in (documents, search, versions, files, permissions, share_links, trash, audit):
    router.include_router(module.router)
