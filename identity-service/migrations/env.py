"""Run by alembic: migrates the database of the service's settings."""

import asyncio

from sqlalchemy.util import greenlet_spawn

from chassis.migrations import run_migrations
from identity_service.models import Account
from identity_service.settings import settings

# The only driver here is asyncpg, which SQLAlchemy can only use inside a greenlet.
asyncio.run(greenlet_spawn(run_migrations, settings.get_driver_url("asyncpg"), Account.metadata))
