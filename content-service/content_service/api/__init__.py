"""The HTTP API, mounted at /api/v1: one module per noun."""

from fastapi import APIRouter

from . import documents, processing, sharing, versions

router = APIRouter()
for part in (documents, versions, processing, sharing):
    router.include_router(part.router)
