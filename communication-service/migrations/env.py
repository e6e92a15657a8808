"""Run by alembic: migrates the database of the service's settings."""

from chassis.migrations import migrate
from communication_service.models import Notification
from communication_service.settings import settings

migrate(settings.driver_url("psycopg2"), Notification.metadata)
