"""Health, liveness and readiness (specification: "Mandatory Health Endpoint")."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any, Literal

import psutil
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from .routing import APIRouter
from .settings import Settings

logger = logging.getLogger(__name__)

Check = Callable[[FastAPI], Awaitable[None] | None]
"""Checks one dependency: passes by returning, fails by raising. A `def` runs in a thread."""

ReadRevisions = Callable[[], tuple[str | None, str | None]]
"""Returns the current revision of the database and the revision that this code needs."""

CHECK_TIMEOUT_SECONDS = 3.0
REPORT_CACHE_SECONDS = 1.0  # many probes at once cost one round of checks

State = Literal["healthy", "unhealthy"]

PROCESS = psutil.Process()


class ProcessMetrics(BaseModel):
    uptime_seconds: float
    active_connections: int = Field(description="Requests that are being answered now.")
    memory_usage_mb: float


class Health(BaseModel):
    """Reports the service and its dependencies (specification: "Mandatory Health Endpoint")."""

    service: str
    status: Literal["healthy", "degraded"]
    version: str
    port: int
    dependencies: dict[str, State]
    metrics: ProcessMetrics


class Liveness(BaseModel):
    status: Literal["alive"] = "alive"


class SchemaRevisions(BaseModel):
    current: str | None = Field(description="The revision of the database; null if unreadable.")
    head: str | None = Field(description="The revision that this code needs.")


class Readiness(BaseModel):
    status: Literal["ready", "not ready"]
    # `schema` itself is an attribute of every pydantic model.
    revisions: SchemaRevisions = Field(alias="schema")


async def ping_redis(app: FastAPI) -> None:
    await app.state.redis.client.ping()


async def ping_identity(app: FastAPI) -> None:
    # Liveness, not health: a problem of identity's own dependencies must not spread to us.
    await app.state.identity.make_request("GET", "/health/live", timeout=CHECK_TIMEOUT_SECONDS)


def build_health_router(
    settings: Settings,
    checks: Mapping[str, Check],
    schema: ReadRevisions,
    *,
    check_timeout: float = CHECK_TIMEOUT_SECONDS,
) -> APIRouter:
    """Build the three routes. `checks` must have "database"; its keys are those of the response."""
    router = APIRouter(tags=["Health"])
    latest: dict[str, Any] = {"at": float("-inf"), "dependencies": {}}
    one_round = asyncio.Lock()

    async def get_states(app: FastAPI) -> dict[str, State]:
        async with one_round:
            if monotonic() - latest["at"] > REPORT_CACHE_SECONDS:
                states = await asyncio.gather(
                    *(run_check(name, check, app, check_timeout) for name, check in checks.items())
                )
                latest.update(at=monotonic(), dependencies=dict(zip(checks, states, strict=True)))
        found: dict[str, State] = latest["dependencies"]
        return found

    @router.get("/health")
    async def get_health(request: Request) -> Health:
        """Show the state of the service and of its dependencies; always 200."""
        states = await get_states(request.app)
        return Health(
            service=settings.service_name,
            status="healthy" if set(states.values()) == {"healthy"} else "degraded",
            version=settings.service_version,
            port=settings.service_port,
            dependencies=states,
            metrics=ProcessMetrics(
                uptime_seconds=round(monotonic() - request.app.state.started_at, 1),
                active_connections=request.app.state.active_connections,
                memory_usage_mb=round(PROCESS.memory_info().rss / 1024**2, 1),
            ),
        )

    @router.get("/health/live")
    async def get_liveness() -> Liveness:
        """Answer 200 as long as the process runs."""
        return Liveness()

    @router.get("/health/ready", responses={503: {"model": Readiness}})
    async def get_readiness(response: Response) -> Readiness:
        """Answer 503 when the database cannot be reached or has another schema than this code."""
        try:
            current, head = await asyncio.wait_for(run_in_threadpool(schema), check_timeout)
        except Exception:
            logger.warning("cannot read the revision of the database's schema", exc_info=True)
            current = head = None
        is_ready = head is not None and current == head
        response.status_code = 200 if is_ready else 503
        revisions = SchemaRevisions(current=current, head=head)
        return Readiness(status="ready" if is_ready else "not ready", schema=revisions)

    return router


async def run_check(name: str, check: Check, app: FastAPI, timeout: float) -> State:
    try:
        async with asyncio.timeout(timeout):
            if inspect.iscoroutinefunction(check):
                await check(app)
            else:
                await run_in_threadpool(check, app)
    except Exception as error:
        logger.warning("health check %s failed: %r", name, error)
        return "unhealthy"
    return "healthy"
