"""What this service reads from its environment, beside what every service reads."""

from pathlib import Path

from pydantic import Field, SecretStr

from chassis import settings as chassis

SERVICE_FOLDER = Path(__file__).resolve().parent.parent


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

    # A worker that has not finished a step after so long is taken for dead: another does the step.
    step_lease_seconds: float = Field(default=60.0, gt=0)

    openai_api_key: SecretStr = SecretStr("")
    openai_base_url: str = "https://api.openai.com/v1"
    openai_model: str = "gpt-5.4-mini"
    anthropic_api_key: SecretStr = SecretStr("")
    anthropic_base_url: str = "https://api.anthropic.com"
    anthropic_model: str = "claude-haiku-4-5"
    ai_timeout_seconds: float = Field(default=30.0, gt=0)


settings = chassis.load(Settings)
