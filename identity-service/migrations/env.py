"""Run by alembic: brings the database in DATABASE_URL to the newest revision."""

import asyncio

from sqlalchemy.util import greenlet_spawn

from chassis.migrations import run_migrations
from identity_service.models import Account
from identity_service.settings import settings

# The only driver here is asyncpg, which works inside of SQLAlchemy's greenlet alone.
asyncio.run(greenlet_spawn(run_migrations, settings.get_driver_url("asyncpg"), Account.metadata))
