"""Run by alembic: migrates the database of the service's settings."""

from chassis.migrations import migrate
from content_service.models import Document
from content_service.settings import settings

migrate(settings.driver_url("psycopg2"), Document.metadata)
