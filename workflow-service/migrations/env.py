"""Run by alembic: migrates the database of the service's settings."""

from chassis.migrations import run_migrations
from workflow_service.models import Run
from workflow_service.settings import settings

run_migrations(settings.get_driver_url("psycopg2"), Run.metadata)
