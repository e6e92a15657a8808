"""The variables that this service reads, in addition to those of every service."""

from pathlib import Path

from pydantic import Field

from chassis import settings as chassis

SERVICE_FOLDER = Path(__file__).resolve().parent.parent


class Settings(chassis.Settings):
    service_name: str = "acme-service"
    service_port: int = Field(default=8099, ge=1, le=65535)
    database_url: str = "postgresql://acme:acme@acme-db:5432/acme_service"
    redis_url: str = "redis://acme-redis:6379/0"


settings = chassis.load_settings(Settings)
