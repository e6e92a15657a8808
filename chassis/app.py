"""The app factory: `create_app` gives a service everything but its own routes."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from logging import getLogger
from time import monotonic

import anyio.to_thread
import uvicorn
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from . import docs_page, errors, gc_tuning, log_config, observability
from .observability import ObserveMiddleware
from .openapi import complete_openapi, get_operation_id
from .redis_client import RedisClient
from .remote_auth import remote_authentication
from .routing import APIRouter, Route
from .settings import Settings
from .tracing import TRACE_HEADER

logger = getLogger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

EXPOSED_HEADERS = [TRACE_HEADER, "ETag", "Idempotent-Replayed", "Location", "Retry-After"]


def create_app(
    settings: Settings,
    *,
    description: str = "",
    lifespan: Lifespan | None = None,
    authentication: Lifespan = remote_authentication,
) -> FastAPI:
    """Create the FastAPI app of a service, as the integration patterns require.

    `description` introduces the API to its readers. `authentication` gives app.state its
    `authenticate`; `lifespan` is entered after it.
    """
    log_config.configure_logging(settings)
    name = settings.service_name.replace("-", " ").capitalize()
    app = FastAPIOffline(
        docs_url=None,  # docs_page.py has it
        title=f"{name} API",
        description=description,
        version=settings.service_version,
        contact={"name": "The maintainers of this repository"},
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": "/", "description": "This server"}],
        generate_unique_id_function=get_operation_id,
        lifespan=build_lifespan(authentication, *([lifespan] if lifespan else [])),
        middleware=[
            Middleware(
                CrossOriginMiddleware,
                allow_origins=settings.cors_allow_origins,
                allow_credentials=True,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=EXPOSED_HEADERS,
            ),
            Middleware(ObserveMiddleware),
        ],
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.router.max_body_size = settings.max_body_bytes
    app.state.settings = settings
    app.state.transport = None  # of calls to neighbours; a test sets another before start-up
    app.state.started_at = monotonic()
    app.state.active_connections = 0
    app.router.route_class = Route
    errors.install_error_handlers(app)
    complete_openapi(app)
    mount_common_routes(app)
    return app


def mount_common_routes(app: FastAPI) -> None:
    """Move the documentation and metrics behind the routes that the service adds later.

    Requests are matched in order, and few of them are for these.
    """
    common = APIRouter(routes=app.router.routes)
    common.include_router(observability.router)
    common.include_router(docs_page.router)
    app.router.routes = []
    app.router.default = common


class CrossOriginMiddleware(CORSMiddleware):
    """Handles requests from pages of another origin; other requests skip it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and any(name == b"origin" for name, _ in scope["headers"]):
            return await super().__call__(scope, receive, send)
        await self.app(scope, receive, send)


def build_lifespan(*services: Lifespan) -> Lifespan:
    """Build a lifespan that opens what every service needs, then enters the given ones in order."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        settings: Settings = app.state.settings
        # A thread without a database connection could only wait for one.
        threads = anyio.to_thread.current_default_thread_limiter()
        threads.total_tokens = settings.database_connections
        async with AsyncExitStack() as stack:
            app.state.redis = RedisClient(settings)
            stack.push_async_callback(app.state.redis.aclose)
            stack.callback(delattr, app.state, "redis")  # a late /health must not reopen it
            for service in services:
                await stack.enter_async_context(service(app))
            gc_tuning.freeze_startup_objects()
            yield

    return lifespan


def serve(app: FastAPI) -> None:
    """Serve the app for `python main.py`; with several processes, each imports main.py anew."""
    settings: Settings = app.state.settings
    host = "localhost" if settings.service_host == "0.0.0.0" else settings.service_host
    logger.info(
        "%s %s starts on http://%s:%s, API documentation at /docs",
        settings.service_name,
        settings.service_version,
        host,
        settings.service_port,
    )
    several = settings.debug or "WEB_CONCURRENCY" in os.environ
    uvicorn.run(
        "main:app" if several else app,
        reload=settings.debug,
        host=settings.service_host,
        port=settings.service_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
