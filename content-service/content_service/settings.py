"""What this service reads from its environment, beside what every service reads."""

from pathlib import Path
from typing import Literal

from fsspec import get_filesystem_class  # type: ignore[import-untyped]
from fsspec.utils import get_protocol  # type: ignore[import-untyped]
from pydantic import Field, field_validator

from chassis import settings as chassis

SERVICE_FOLDER = Path(__file__).resolve().parent.parent


class Settings(chassis.Settings):
    service_name: str = "content-service"
    service_port: int = Field(default=8002, ge=1, le=65535)
    database_url: str = "postgresql://content:content@content-db:5432/content_service"
    redis_url: str = "redis://content-redis:6379/0"
    communication_service_url: str = "http://communication-service:8003"

    storage_url: str = (SERVICE_FOLDER / "data").as_uri()
    max_upload_bytes: int = Field(default=256 * 1024**2, ge=1)
    duplicates: Literal["flag", "reject"] = "flag"
    trash_days: float = Field(default=30, ge=0)
    cleanup_interval_seconds: float = Field(default=300, gt=0)
    extraction_seconds: float = Field(default=20.0, gt=0)
    extraction_memory_bytes: int = Field(default=512 * 1024**2, ge=128 * 1024**2)
    extraction_characters: int = Field(default=2_000_000, ge=1)

    @field_validator("max_upload_bytes")
    @classmethod
    def check_max_upload_bytes(cls, size: int) -> int:
        if size >= 2**31:
            raise ValueError("must be below 2 GiB, or 2147483648: no larger size can be kept")
        return size

    @field_validator("storage_url")
    @classmethod
    def check_storage_driver(cls, url: str) -> str:
        try:
            get_filesystem_class(get_protocol(url))
        except (ImportError, ValueError) as error:
            more = "for s3:// pip install -r requirements.s3.txt"
            raise ValueError(f"{error} ({more})") from error
        return url


settings = chassis.load_settings(Settings)
