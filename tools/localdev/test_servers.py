"""A PostgreSQL and a Redis for the length of one test run, in a folder of their own."""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .child_process import leashed, let_go
from .servers import Postgres, Redis, free_port, wait_until
from .services import SERVICES, Service, build_environment


class TemporaryServers:
    """Ports are chosen at once, so that settings can name them; `start` runs the servers."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="test-servers-")
        self.folder = Path(self._folder.name)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.postgres = Postgres(self.folder / "postgres", free_port(), durable=False)
        self.redis = Redis(self.folder / "redis", free_port(), durable=False)

    def start(self) -> None:
        """Run both servers and make every service's role and database."""
        self.postgres.prepare()
        self.redis.prepare()
        log = self.folder / "log"
        for server in (self.postgres, self.redis):
            self._processes.append(leashed(server.command, log))
        wait_until(self.postgres.answers, "PostgreSQL")
        wait_until(self.redis.answers, "Redis")
        for service in SERVICES:
            self.postgres.create(service.short, service.database_name)

    def stop(self) -> None:
        for process in self._processes:
            let_go(process)
        self._folder.cleanup()

    def environment(self, service: Service) -> Mapping[str, str]:
        """The service's variables; every service has two Redis databases of its own."""
        number = 2 * SERVICES.index(service) + 1  # database 0 is for tests of no service
        return build_environment(
            service,
            database_url=self.postgres.url(service.short, service.database_name),
            redis_url=self.redis.url(number),
            broker_url=self.redis.url(number + 1),
            storage=self.folder / service.short,
        )
