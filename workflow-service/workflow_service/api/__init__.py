"""The HTTP API, mounted at /api/v1."""

from fastapi import APIRouter

from . import definitions, tasks, workflows

router = APIRouter()
for module in (definitions, workflows, tasks):
    router.include_router(module.router)
