"""Run by alembic: migrates the database of the service's settings."""

from communication_service.models import Base
from communication_service.settings import settings

from chassis.migrations import migrate

migrate(settings.driver_url("psycopg2"), Base.metadata)
