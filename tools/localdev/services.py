"""The services of the platform: their ports, databases and background processes.

The `service.toml` in each `*-service` folder holds what does not follow from the name.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Service:
    """Describes a service; `background` lists its worker and scheduler, if it has them."""

    short: str
    port: int
    background: Sequence[str] = ()
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
    def redis_port(self) -> int:
        return self.port - 1620  # 6381 for 8001

    @property
    def folder(self) -> Path:
        return ROOT / self.name


def read_service(file: Path) -> Service:
    return Service(file.parent.name.removesuffix("-service"), **tomllib.loads(file.read_text()))


SERVICES = sorted(map(read_service, ROOT.glob("*-service/service.toml")), key=lambda s: s.port)

# A service in a repository of its own has a stand-in for identity.
HAS_IDENTITY = any(service.short == "identity" for service in SERVICES)

IDENTITY_PORT = 8001
POSTGRES_PORT = 5440
SMTP_PORT = 1025
MAIL_PORT = 1080


def build_environment(
    service: Service, *, database_url: str, redis_url: str, broker_url: str, storage: Path
) -> Mapping[str, str]:
    """Return the variables with a service's name and the addresses of its own servers."""
    return {
        "SERVICE_NAME": service.name,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "CELERY_BROKER_URL": broker_url,
        "STORAGE_URL": f"file://{storage}",
    }
