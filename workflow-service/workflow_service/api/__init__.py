"""The HTTP API, mounted at /api/v1."""

from fastapi import APIRouter

from . import definitions, runs, tasks

router = APIRouter()
for module in (definitions, runs, tasks):
    router.include_router(module.router)
