"""Run by alembic: migrates the database of the service's settings."""

from chassis.migrations import migrate
from workflow_service.models import Run
from workflow_service.settings import settings

migrate(settings.driver_url("psycopg2"), Run.metadata)
