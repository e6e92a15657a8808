"""Run by alembic: migrates the database of the service's settings."""

from chassis.migrations import run_migrations
from content_service.models import Document
from content_service.settings import settings

run_migrations(settings.get_driver_url("psycopg2"), Document.metadata)
