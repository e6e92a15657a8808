"""The variables that this service reads, beside the ones that every service reads."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from chassis import settings as chassis

SERVICE_FOLDER = Path(__file__).resolve().parent.parent

ProviderName = Literal["openai", "anthropic", "offline"]
ProviderNames = Annotated[tuple[ProviderName, ...], NoDecode, BeforeValidator(chassis.parse_list)]


class Settings(chassis.Settings):
    service_name: str = "workflow-service"
    service_port: int = Field(default=8004, ge=1, le=65535)
    database_url: str = (
        "postgresql://workflow:workflow@workflow-db:5432/workflow_intelligence_service"
    )
    redis_url: str = "redis://workflow-redis:6379/0"
    celery_broker_url: str = "redis://workflow-redis:6379/1"

    content_service_url: str = "http://content-service:8002"
    communication_service_url: str = "http://communication-service:8003"

    # A worker that has not renewed its lease for this long is considered dead.
    step_lease_seconds: float = Field(default=15.0, ge=0.5)
    step_timeout_seconds: float = Field(default=60.0, gt=0)
    max_concurrent_steps: int = Field(default=16, ge=1, le=200)

    http_allow_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(chassis.parse_list)] = ()
    http_timeout_seconds: float = Field(default=10.0, gt=0)

    # Providers are tried in this order; those without a key are skipped. offline needs no key.
    ai_providers: ProviderNames = ("openai", "anthropic")
    openai_api_key: SecretStr = SecretStr("")
    openai_base_url: str = "https://api.openai.com/v1"
    openai_model: str = "gpt-5.4-mini"
    openai_input_price: float = Field(default=0.75, ge=0)  # US dollars per million tokens
    openai_output_price: float = Field(default=4.5, ge=0)
    anthropic_api_key: SecretStr = SecretStr("")
    anthropic_base_url: str = "https://api.anthropic.com"
    anthropic_model: str = "claude-haiku-4-5"
    anthropic_input_price: float = Field(default=1.0, ge=0)
    anthropic_output_price: float = Field(default=5.0, ge=0)
    ai_timeout_seconds: float = Field(default=30.0, gt=0)

    def has_provider(self, name: ProviderName) -> bool:
        """Tell whether the provider can be used: it has a key or needs none."""
        return name == "offline" or bool(getattr(self, f"{name}_api_key"))


settings = chassis.load_settings(Settings)
