"""Describes the processes of the platform on one machine: commands, ports and environments."""

import hashlib
import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from .servers import HOST, Postgres, Redis, reserve_free_port
from .services import HAS_IDENTITY, ROOT, SERVICES, Service, get_default_ports

WITHOUT_PEERS = ("--without-gossip", "--without-mingle")  # workers coordinate through the database
CELERY_ARGUMENTS = {
    "worker": ("worker", "--pool", "threads", "--concurrency", "4", *WITHOUT_PEERS),
    "scheduler": ("beat",),
}
MAX_HEARTBEAT_AGE_SECONDS = 15


@dataclass(frozen=True)
class Process:
    """Describes a process that the supervisor keeps running, and how to see that it is ready."""

    name: str
    command: list[str]
    is_ready: Callable[[], bool]
    ports: tuple[int, ...] = ()
    folder: Path = ROOT
    environment: Mapping[str, str] = field(default_factory=dict)


def reserve_free_ports() -> dict[str, int]:
    """Reserve ports for a stack that runs beside others."""
    return {name: reserve_free_port() for name in get_default_ports()}


@dataclass(frozen=True)
class Layout:
    """Holds the data folder, ports and variables of one stack, and builds its processes."""

    folder: Path
    ports: Mapping[str, int]
    overrides: Mapping[str, str]  # variables for every service; they win over all others
    is_private: bool = False  # True: ignores the developer's environment and .env files

    @property
    def postgres(self) -> Postgres:
        return Postgres(self.folder / "postgres", self.ports["postgres"])

    def get_redis(self, service: Service) -> Redis:
        name = f"{service.short}-redis"
        return Redis(self.folder / name, self.ports[name])

    def get_url(self, name: str) -> str:
        return f"http://{HOST}:{self.ports[name]}"

    def prepare(self) -> None:
        """Create the folders that the servers and services expect."""
        self.postgres.prepare()
        for service in SERVICES:
            self.get_redis(service).prepare()
            (self.folder / service.name).mkdir(exist_ok=True)

    def build_processes(self) -> list[Process]:
        return [*self.build_servers(), *self.build_services()]

    def build_servers(self) -> Iterator[Process]:
        postgres = self.postgres
        yield Process("postgres", postgres.command, postgres.is_ready, (postgres.port,))
        for service in SERVICES:
            redis = self.get_redis(service)
            yield Process(redis.folder.name, redis.command, redis.is_ready, (redis.port,))
        yield self.build_mail()
        if not HAS_IDENTITY and self.real_identity is None:
            yield self.build_identity()

    @property
    def real_identity(self) -> str | None:
        return None if self.is_private else os.getenv("IDENTITY_SERVICE_URL")

    def build_identity(self) -> Process:
        port = self.ports["identity-service"]
        command = [sys.executable, "-m", "tools.localdev.identity_server", str(port)]
        ready = partial(is_responding, f"{self.get_url('identity-service')}/health/ready")
        return Process("identity-service", command, ready, (port,))

    def build_mail(self) -> Process:
        ports = (self.ports["smtp"], self.ports["mail"])
        command = [sys.executable, "-m", "tools.localdev.mail_catcher", str(self.folder / "mail")]
        ready = partial(is_responding, f"{self.get_url('mail')}/healthz")
        return Process("mail", [*command, *map(str, ports)], ready, ports)

    def build_services(self) -> Iterator[Process]:
        """Build each service, followed by its worker and scheduler."""
        for service in SERVICES:
            yield self.build_service(service)
            for kind in service.background:
                yield self.build_background(service, kind)

    def build_service(self, service: Service) -> Process:
        ready = partial(is_responding, f"{self.get_url(service.name)}/health/ready")
        command = [sys.executable, "main.py"]
        ports = (self.ports[service.name],)
        environment = self.get_environment(service)
        return Process(service.name, command, ready, ports, service.folder, environment)

    def build_background(self, service: Service, kind: str) -> Process:
        name = f"{service.short}-{kind}"
        heartbeat = self.folder / f"{name}.heartbeat"
        ready = partial(has_heartbeat, heartbeat)
        command = [sys.executable, "-m", "celery", "-A", f"{service.package}.celery_app"]
        command += CELERY_ARGUMENTS[kind]
        environment = {**self.get_environment(service), "HEARTBEAT_FILE": str(heartbeat)}
        return Process(name, command, ready, (), service.folder, environment)

    def get_environment(self, service: Service) -> dict[str, str]:
        """Return .env.shared and the service's .env, as docker-compose.yml does, and addresses."""
        files = [ROOT / ".env.shared", *([] if self.is_private else [service.folder / ".env"])]
        # Parsed as one text, because the second may refer to variables of the first.
        text = "\n".join(file.read_text() for file in files if file.exists())
        variables = dotenv_values(stream=StringIO(text))
        return {
            **{key: value for key, value in variables.items() if value is not None},
            "IDENTITY_SERVICE_URL": self.real_identity or self.get_url("identity-service"),
            **{f"{s.short.upper()}_SERVICE_URL": self.get_url(s.name) for s in SERVICES},
            **build_environment(service, self.postgres, self.get_redis(service), 0, self.folder),
            "SERVICE_HOST": HOST,
            "SERVICE_PORT": str(self.ports[service.name]),
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(self.ports["smtp"]),
            "PYTHONPATH": str(ROOT),
            "SOURCE": hash_sources(ROOT / "chassis", service.folder),
            **self.overrides,
        }


def build_environment(
    service: Service, postgres: Postgres, redis: Redis, number: int, folder: Path
) -> dict[str, str]:
    """Return the addresses of a service's servers; `number` is the first of two Redis databases."""
    return {
        "SERVICE_NAME": service.name,
        "DATABASE_URL": postgres.get_url(service.short, service.database_name),
        "REDIS_URL": redis.get_url(number),
        "CELERY_BROKER_URL": redis.get_url(number + 1),
        "STORAGE_URL": f"file://{folder / service.name}",
    }


def hash_sources(*folders: Path) -> str:
    """Hash the times of source files, so that `make up` restarts a service that has changed."""
    digest = hashlib.sha256()
    for file in sorted(file for folder in folders for file in folder.rglob("*.*")):
        if file.is_file() and not {"tests", "__pycache__"} & set(file.parts):
            digest.update(f"{file} {file.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def is_responding(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def has_heartbeat(file: Path) -> bool:
    """Return whether a worker or scheduler has touched its heartbeat file recently."""
    return file.exists() and time.time() - file.stat().st_mtime < MAX_HEARTBEAT_AGE_SECONDS
