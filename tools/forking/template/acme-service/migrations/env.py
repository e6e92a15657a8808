"""Run by alembic: migrates the database of the service's settings."""

from acme_service.models import Item
from acme_service.settings import settings
from chassis.migrations import run_migrations

run_migrations(settings.get_driver_url("psycopg2"), Item.metadata)
