"""The variables that this service reads, besides those of every service."""

from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from chassis import settings as chassis
from chassis.job_queue import RetryPolicy

from .categories import SECURITY, CategoryOrEvery, RateLimit

SERVICE_FOLDER = Path(__file__).resolve().parent.parent


class Settings(chassis.Settings):
    service_name: str = "communication-service"
    service_port: int = Field(default=8003, ge=1, le=65535)
    database_url: str = (
        "postgresql://communication:communication@communication-db:5432/communication_service"
    )
    redis_url: str = "redis://communication-redis:6379/0"
    celery_broker_url: str = "redis://communication-redis:6379/1"

    smtp_host: str = "mail"
    smtp_port: int = Field(default=1025, ge=1, le=65535)
    smtp_security: Literal["none", "starttls", "tls"] = "none"
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_timeout_seconds: float = Field(default=10, gt=0)
    smtp_sender: str = "Notifications <notifications@example.com>"

    sms_api_url: str = "https://api.twilio.com"
    sms_account_sid: str = Field(default="", pattern=r"^[A-Za-z0-9]*$")
    sms_auth_token: SecretStr = SecretStr("")
    sms_sender: str = Field(default="", validate_default=True)
    sms_timeout_seconds: float = Field(default=10, gt=0)

    public_url: str = "http://localhost:8003"
    mandatory_categories: chassis.StringList = Field(default=[SECURITY])
    category_limits: dict[CategoryOrEvery, RateLimit] = Field(default={})

    inbox_streams_per_user: int = Field(default=5, ge=1)
    inbox_streams: int = Field(default=1000, ge=1)

    schedule_seconds: float = Field(default=1, gt=0)
    delivery_batch_size: int = Field(default=100, ge=1, le=1000)
    delivery_batch_seconds: float = Field(default=2, gt=0)
    delivery_lease_seconds: float = Field(default=60, gt=0)
    delivery_max_attempts: int = Field(default=60, ge=1)
    delivery_max_age_seconds: float = Field(default=3 * 24 * 60 * 60, gt=0)
    delivery_first_delay_seconds: float = Field(default=1, gt=0)
    delivery_max_delay_seconds: float = Field(default=300, gt=0)

    webhook_allow_hosts: chassis.StringList = Field(default=[])
    webhook_timeout_seconds: float = Field(default=10, gt=0)
    webhook_pause_after_failures: int = Field(default=10, ge=1)
    webhook_pause_after_seconds: float = Field(default=60, ge=0)
    webhook_probe_seconds: float = Field(default=60, gt=0)

    @field_validator("public_url")
    @classmethod
    def strip_trailing_slash(cls, url: str) -> str:
        return url.rstrip("/")

    @field_validator("sms_sender")
    @classmethod
    def check_sms_sender(cls, sender: str, info: ValidationInfo) -> str:
        if info.data.get("sms_account_sid") and not sender:
            raise ValueError("is required with SMS_ACCOUNT_SID: the number that messages come from")
        return sender

    @field_validator("smtp_sender")
    @classmethod
    def check_smtp_sender(cls, sender: str) -> str:
        if not parseaddr(sender)[1].rpartition("@")[0]:
            raise ValueError("must be an email address, alone or as in: Name <name@example.com>")
        return sender

    @property
    def mail_domain(self) -> str:
        return parseaddr(self.smtp_sender)[1].rpartition("@")[2]

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.delivery_lease_seconds)

    @property
    def retry_policy(self) -> RetryPolicy:
        delays = (self.delivery_first_delay_seconds, self.delivery_max_delay_seconds)
        return RetryPolicy(self.delivery_max_attempts, *delays)


settings = chassis.load_settings(Settings)
