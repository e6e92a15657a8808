"""What must work for this service to be healthy."""

import anyio.from_thread
from fastapi import FastAPI
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.health import build_health_router, ping_redis
from chassis.migrations import get_current_revision, get_head_revision

from .database import CONNECT_ARGUMENTS, engine
from .settings import SERVICE_FOLDER, settings

# Each probe opens a connection of its own: the pool may be exhausted, or not yet usable at start.
probe_engine = create_async_engine(engine.url, poolclass=NullPool, connect_args=CONNECT_ARGUMENTS)


async def ping_database(app: FastAPI) -> None:
    async with probe_engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def get_database_revision() -> str | None:
    async with probe_engine.connect() as connection:
        return await connection.run_sync(get_current_revision)


def get_revisions() -> tuple[str | None, str | None]:
    """Returns the database's schema revision and the newest one of the migrations."""
    current = anyio.from_thread.run(get_database_revision)
    return current, get_head_revision(SERVICE_FOLDER)


CHECKS = {"database": ping_database, "redis": ping_redis}
router = build_health_router(settings, CHECKS, schema=get_revisions)
