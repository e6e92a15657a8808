"""The checks behind /health: this service is healthy when all of them pass."""

from functools import partial

from fastapi import FastAPI
from sqlalchemy import text

from chassis.health import CHECK_TIMEOUT_SECONDS, build_health_router, ping_identity, ping_redis
from chassis.migrations import get_revisions

from .database import engine
from .settings import SERVICE_FOLDER, settings


def ping_database(app: FastAPI) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


async def ping_neighbour(app: FastAPI, name: str) -> None:
    client = getattr(app.state.neighbours, name)
    await client.make_request("GET", "/health/live", timeout=CHECK_TIMEOUT_SECONDS)


router = build_health_router(
    settings,
    {
        "database": ping_database,
        "redis": ping_redis,
        "identity-service": ping_identity,
        "content-service": partial(ping_neighbour, name="content"),
        "communication-service": partial(ping_neighbour, name="communication"),
    },
    schema=partial(get_revisions, engine, SERVICE_FOLDER),
)
