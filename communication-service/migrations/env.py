"""Run by alembic: migrates the database of the service's settings."""

from chassis.migrations import run_migrations
from communication_service.models import Notification
from communication_service.settings import settings

run_migrations(settings.get_driver_url("psycopg2"), Notification.metadata)
