"""The HTTP API, mounted at /api/v1."""

from chassis.routing import APIRouter

from . import ai, definitions, tasks, workflows

router = APIRouter()
for module in (definitions, workflows, tasks, ai):
    router.include_router(module.router)
