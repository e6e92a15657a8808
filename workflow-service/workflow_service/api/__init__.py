"""The HTTP API, mounted at /api/v1; ai.py is mounted beside it, under its own tag."""

from chassis.routing import APIRouter

from . import definitions, tasks, workflows

router = APIRouter()
for module in (definitions, workflows, tasks):
    router.include_router(module.router)
