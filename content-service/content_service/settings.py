"""The variables that this service reads, in addition to those of every service."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from fsspec import get_filesystem_class  # type: ignore[import-untyped]
from fsspec.utils import get_protocol  # type: ignore[import-untyped]
from pydantic import Field, field_validator

from chassis import settings as chassis

SERVICE_FOLDER = Path(__file__).resolve().parent.parent

DuplicatePolicy = Literal["flag", "reject"]


class Settings(chassis.Settings):
    service_name: str = "content-service"
    service_port: int = Field(default=8002, ge=1, le=65535)
    database_url: str = "postgresql://content:content@content-db:5432/content_service"
    redis_url: str = "redis://content-redis:6379/0"
    communication_service_url: str = "http://communication-service:8003"

    storage_url: str = (SERVICE_FOLDER / "data").as_uri()
    max_upload_bytes: int = Field(default=256 * 1024**2, ge=1)
    duplicates: DuplicatePolicy = "flag"
    trash_days: float = Field(default=30, ge=0)
    cleanup_interval_seconds: float = Field(default=300, gt=0)
    extraction_seconds: float = Field(default=20.0, gt=0)
    extraction_memory_bytes: int = Field(default=512 * 1024**2, ge=128 * 1024**2)
    extraction_characters: int = Field(default=2_000_000, ge=1)

    @property
    def extraction_lease(self) -> timedelta:
        """Return how long a claimed file belongs to its worker before the lease is renewed."""
        return timedelta(seconds=self.extraction_seconds + 5)

    @field_validator("max_upload_bytes")
    @classmethod
    def check_max_upload_bytes(cls, size: int) -> int:
        if size >= 2**31:
            raise ValueError("must be below 2 GiB (2147483648 bytes), the largest size of a file")
        return size

    @field_validator("storage_url")
    @classmethod
    def check_storage_driver(cls, url: str) -> str:
        try:
            get_filesystem_class(get_protocol(url))
        except (ImportError, ValueError) as error:
            hint = "for s3:// run pip install -r requirements.s3.txt"
            raise ValueError(f"{error} ({hint})") from error
        return url


settings = chassis.load_settings(Settings)
