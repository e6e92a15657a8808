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
from .services import (
    HAS_IDENTITY,
    IDENTITY_PORT,
    MAIL_PORT,
    POSTGRES_PORT,
    ROOT,
    SERVICES,
    SMTP_PORT,
    Service,
    build_environment,
)

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


def get_default_ports() -> dict[str, int]:
    """Return the ports of `make up` by the name of the process that listens on them."""
    ports = {"postgres": POSTGRES_PORT, "mail": MAIL_PORT, "smtp": SMTP_PORT}
    for service in SERVICES:
        ports |= {service.name: service.port, f"{service.short}-redis": service.redis_port}
    return {"identity-service": IDENTITY_PORT, **ports}


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
        """Build the processes that the services depend on."""
        yield Process(
            "postgres", self.postgres.command, self.postgres.is_ready, (self.postgres.port,)
        )
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
        smtp = self.ports["smtp"]
        page = self.ports["mail"]
        folder = str(self.folder / "mail")
        command = [
            sys.executable,
            "-m",
            "tools.localdev.mail_catcher",
            folder,
            str(smtp),
            str(page),
        ]
        return Process(
            "mail", command, partial(is_responding, f"{self.get_url('mail')}/healthz"), (smtp, page)
        )

    def build_services(self) -> Iterator[Process]:
        """Build each service, followed by its worker and scheduler."""
        for service in SERVICES:
            yield self.build_service(service)
            for kind in service.background:
                yield self.build_background(service, kind)

    def build_service(self, service: Service) -> Process:
        return Process(
            service.name,
            [sys.executable, "main.py"],
            partial(is_responding, f"{self.get_url(service.name)}/health/ready"),
            (self.ports[service.name],),
            service.folder,
            self.get_environment(service),
        )

    def build_background(self, service: Service, kind: str) -> Process:
        name = f"{service.short}-{kind}"
        heartbeat = self.folder / f"{name}.heartbeat"
        celery = [sys.executable, "-m", "celery", "-A", f"{service.package}.celery_app"]
        return Process(
            name,
            [*celery, *CELERY_ARGUMENTS[kind]],
            partial(has_heartbeat, heartbeat),
            folder=service.folder,
            environment={**self.get_environment(service), "HEARTBEAT_FILE": str(heartbeat)},
        )

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
            **build_environment(
                service,
                database_url=self.postgres.get_url(service.short, service.database_name),
                redis_url=self.get_redis(service).get_url(0),
                broker_url=self.get_redis(service).get_url(1),
                storage=self.folder / service.name,
            ),
            "SERVICE_HOST": HOST,
            "SERVICE_PORT": str(self.ports[service.name]),
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(self.ports["smtp"]),
            "PYTHONPATH": str(ROOT),
            "SOURCE": hash_sources(ROOT / "chassis", service.folder),
            **self.overrides,
        }


def hash_sources(*folders: Path) -> str:
    """Hash the times of source files, so that `make up` restarts a service that has changed."""
    digest = hashlib.sha256()
    for file in sorted(file for folder in folders for file in folder.rglob("*.*")):
        if file.is_file() and not {"tests", "__pycache__"} & set(file.parts):
            digest.update(f"{file} {file.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def is_responding(url: str) -> bool:
    """Return whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def has_heartbeat(heartbeat: Path) -> bool:
    """Return whether a worker or scheduler has touched its heartbeat file recently."""
    return (
        heartbeat.exists() and time.time() - heartbeat.stat().st_mtime < MAX_HEARTBEAT_AGE_SECONDS
    )
