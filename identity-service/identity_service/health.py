"""What identity's health depends on."""

from pathlib import Path

import anyio.from_thread
from fastapi import FastAPI
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from chassis.health import build_health_router, ping_redis
from chassis.migrations import get_current_revision, get_head_revision

from .database import CONNECT_ARGUMENTS, engine
from .settings import settings

FOLDER = Path(__file__).resolve().parent.parent

# A connection of its own for each probe: the pool may be used up, or not be there before start-up.
probe_engine = create_async_engine(engine.url, poolclass=NullPool, connect_args=CONNECT_ARGUMENTS)


async def ping_database(app: FastAPI) -> None:
    async with probe_engine.connect() as connection:
        await connection.execute(text("SELECT 1"))


async def get_database_revision() -> str | None:
    async with probe_engine.connect() as connection:
        return await connection.run_sync(get_current_revision)


def get_revisions() -> tuple[str | None, str | None]:
    return anyio.from_thread.run(get_database_revision), get_head_revision(FOLDER)


router = build_health_router(
    settings, {"database": ping_database, "redis": ping_redis}, get_revisions
)
