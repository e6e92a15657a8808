"""What must work for this service to be healthy."""

from functools import partial

from fastapi import FastAPI
from sqlalchemy import text

from chassis.health import build_health_router, ping_identity, ping_redis
from chassis.migrations import get_revisions

from .database import engine
from .settings import SERVICE_FOLDER, settings


def ping_database(app: FastAPI) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


router = build_health_router(
    settings,
    {"database": ping_database, "redis": ping_redis, "identity-service": ping_identity},
    schema=partial(get_revisions, engine, SERVICE_FOLDER),
)
