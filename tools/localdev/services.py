"""The services of the platform; each service.toml holds what does not follow from the name."""

import tomllib
from collections.abc import Sequence
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


def get_default_ports() -> dict[str, int]:
    """Return the ports of `make up` by the name of the process that listens on them."""
    ports = {"identity-service": 8001, "postgres": 5440, "mail": 1080, "smtp": 1025}
    for service in SERVICES:
        ports |= {service.name: service.port, f"{service.short}-redis": service.redis_port}
    return ports
