"""The services of the platform: their ports, databases and background processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Service:
    """One line of the table below; the rest follows from the name."""

    short: str
    port: int
    redis_port: int
    background: tuple[str, ...] = ()
    database: str = ""

    @property
    def name(self) -> str:
        return f"{self.short}-service"

    @property
    def package(self) -> str:
        return f"{self.short}_service"

    @property
    def database_name(self) -> str:
        return self.database or self.package

    @property
    def folder(self) -> Path:
        return ROOT / self.name


WORKER = ("worker", "scheduler")

SERVICES = (
    Service("identity", 8001, 6381),
    Service("content", 8002, 6382),
    Service("communication", 8003, 6383, WORKER),
    Service("workflow", 8004, 6384, WORKER, database="workflow_intelligence_service"),
)

POSTGRES_PORT = 5440
SMTP_PORT = 1025
MAIL_PORT = 1080


def environment(
    service: Service, *, database_url: str, redis_url: str, broker_url: str, storage: Path
) -> Mapping[str, str]:
    """The variables that tell a service where it is and what belongs to it."""
    return {
        "SERVICE_NAME": service.name,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CELERY_BROKER_URL": broker_url,
        "STORAGE_URL": f"file://{storage}",
    }
