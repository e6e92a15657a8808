"""What each service's migrations/env.py does: migrate under a lock; and which revision there is."""

from functools import cache
from pathlib import Path
from typing import Any

from alembic import context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, create_engine, pool, text

MIGRATION_LOCK = 7_214_019  # any number; advisory locks are per database


def run_migrations(url: str, metadata: MetaData) -> None:
    """Run by alembic. Several at once wait for each other, so that only the first one migrates."""
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATION_LOCK})
        connection.commit()
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


@cache
def get_head_revision(service_folder: Path) -> str | None:
    """The newest revision in the service's folder when this process first asks."""
    config = Config(str(service_folder / "alembic.ini"))
    return ScriptDirectory.from_config(config).get_current_head()


def get_current_revision(connection: Connection | Any) -> str | None:
    """The revision the database is at."""
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def get_revisions(engine: Engine, service_folder: Path) -> tuple[str | None, str | None]:
    """Current and head, for /health/ready of a service with a sync engine."""
    with engine.connect() as connection:
        return get_current_revision(connection), get_head_revision(service_folder)
