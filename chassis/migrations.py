"""Migrations of every service: run them under a lock, and read the revision of a database."""

from functools import cache
from pathlib import Path
from typing import Any

from alembic import context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, MetaData, create_engine, pool, text

MIGRATION_LOCK = 7_214_019  # any number; advisory locks are per database


def run_migrations(url: str, metadata: MetaData) -> None:
    """Migrate, as called by alembic; of several at once the first one does, and the others wait."""
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
    """Read the newest revision in the service's folder, once per process."""
    config = Config(str(service_folder / "alembic.ini"))
    return ScriptDirectory.from_config(config).get_current_head()


def get_current_revision(connection: Connection | Any) -> str | None:
    """Read the revision of the database."""
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def get_revisions(engine: Engine, service_folder: Path) -> tuple[str | None, str | None]:
    """Return current and head revision, for /health/ready of a service with a sync engine."""
    with engine.connect() as connection:
        return get_current_revision(connection), get_head_revision(service_folder)
