"""The processes of the platform on one machine: what runs where, with which environment."""

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

from .servers import HOST, Postgres, Redis, free_port
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

ALONE = ("--without-gossip", "--without-mingle")  # what workers share is in the database
BACKGROUND = {
    "worker": ("worker", "--pool", "threads", "--concurrency", "4", *ALONE),
    "scheduler": ("beat",),
}
LONGEST_SILENCE = 15  # seconds between two signs of life of a worker or scheduler


@dataclass(frozen=True)
class Process:
    """What the supervisor keeps running, and how to tell that it is ready."""

    name: str
    command: list[str]
    ready: Callable[[], bool]
    ports: tuple[int, ...] = ()
    folder: Path = ROOT
    environment: Mapping[str, str] = field(default_factory=dict)


def default_ports() -> dict[str, int]:
    """The ports of `make up`, by what listens on them."""
    ports = {"postgres": POSTGRES_PORT, "mail": MAIL_PORT, "smtp": SMTP_PORT}
    for service in SERVICES:
        ports |= {service.name: service.port, f"{service.short}-redis": service.redis_port}
    return {"identity-service": IDENTITY_PORT, **ports}


def free_ports() -> dict[str, int]:
    """Ports for a stack beside all others."""
    return {name: free_port() for name in default_ports()}


@dataclass(frozen=True)
class Layout:
    """Where one stack keeps its data and on which ports it listens."""

    folder: Path
    ports: Mapping[str, int]
    overrides: Mapping[str, str]  # variables for every service that win over all others
    is_private: bool = False  # True: nothing of the developer's environment and .env files

    @property
    def postgres(self) -> Postgres:
        return Postgres(self.folder / "postgres", self.ports["postgres"])

    def redis(self, service: Service) -> Redis:
        name = f"{service.short}-redis"
        return Redis(self.folder / name, self.ports[name])

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.ports[name]}"

    def prepare(self) -> None:
        """Make the folders that the servers and services expect."""
        self.postgres.prepare()
        for service in SERVICES:
            self.redis(service).prepare()
            (self.folder / service.name).mkdir(exist_ok=True)

    def processes(self) -> list[Process]:
        return [*self.servers(), *self.services()]

    def servers(self) -> Iterator[Process]:
        """What the services stand on."""
        yield Process(
            "postgres", self.postgres.command, self.postgres.answers, (self.postgres.port,)
        )
        for service in SERVICES:
            redis = self.redis(service)
            yield Process(redis.folder.name, redis.command, redis.answers, (redis.port,))
        yield self.mail()
        if not HAS_IDENTITY and self.real_identity is None:
            yield self.identity()

    @property
    def real_identity(self) -> str | None:
        return None if self.is_private else os.getenv("IDENTITY_SERVICE_URL")

    def identity(self) -> Process:
        port = self.ports["identity-service"]
        command = [sys.executable, "-m", "tools.localdev.identity_server", str(port)]
        ready = partial(responds, f"{self.url('identity-service')}/health/ready")
        return Process("identity-service", command, ready, (port,))

    def mail(self) -> Process:
        smtp, page = self.ports["smtp"], self.ports["mail"]
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
            "mail", command, partial(responds, f"{self.url('mail')}/healthz"), (smtp, page)
        )

    def services(self) -> Iterator[Process]:
        """Each service, followed by its worker and scheduler."""
        for service in SERVICES:
            yield self.service(service)
            for kind in service.background:
                yield self.background(service, kind)

    def service(self, service: Service) -> Process:
        return Process(
            service.name,
            [sys.executable, "main.py"],
            partial(responds, f"{self.url(service.name)}/health/ready"),
            (self.ports[service.name],),
            service.folder,
            self.environment(service),
        )

    def background(self, service: Service, kind: str) -> Process:
        name = f"{service.short}-{kind}"
        heartbeat = self.folder / f"{name}.heartbeat"
        celery = [sys.executable, "-m", "celery", "-A", f"{service.package}.celery_app"]
        return Process(
            name,
            [*celery, *BACKGROUND[kind]],
            partial(beats, heartbeat),
            folder=service.folder,
            environment={**self.environment(service), "HEARTBEAT_FILE": str(heartbeat)},
        )

    def environment(self, service: Service) -> dict[str, str]:
        """As in docker-compose.yml, .env.shared and then the service's .env; then the addresses."""
        files = [ROOT / ".env.shared", *([] if self.is_private else [service.folder / ".env"])]
        # As one text, since the second may refer to variables of the first.
        text = "\n".join(file.read_text() for file in files if file.exists())
        given = dotenv_values(stream=StringIO(text))
        return {
            **{key: value for key, value in given.items() if value is not None},
            "IDENTITY_SERVICE_URL": self.real_identity or self.url("identity-service"),
            **{f"{s.short.upper()}_SERVICE_URL": self.url(s.name) for s in SERVICES},
            **build_environment(
                service,
                database_url=self.postgres.url(service.short, service.database_name),
                redis_url=self.redis(service).url(0),
                broker_url=self.redis(service).url(1),
                storage=self.folder / service.name,
            ),
            "SERVICE_HOST": HOST,
            "SERVICE_PORT": str(self.ports[service.name]),
            "SMTP_HOST": HOST,
            "SMTP_PORT": str(self.ports["smtp"]),
            "PYTHONPATH": str(ROOT),
            "SOURCE": fingerprint(ROOT / "chassis", service.folder),
            **self.overrides,
        }


def fingerprint(*folders: Path) -> str:
    """Changes with the sources, and so has a changed service restarted by the next `make up`."""
    digest = hashlib.sha256()
    for file in sorted(file for folder in folders for file in folder.rglob("*.*")):
        if file.is_file() and not {"tests", "__pycache__"} & set(file.parts):
            digest.update(f"{file} {file.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def responds(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def beats(heartbeat: Path) -> bool:
    """Whether a worker or scheduler has shown a sign of life (chassis/celery_app.py) lately."""
    return heartbeat.exists() and time.time() - heartbeat.stat().st_mtime < LONGEST_SILENCE
