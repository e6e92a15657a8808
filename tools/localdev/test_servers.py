"""Runs a PostgreSQL and a Redis for one test run, in a temporary folder."""

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .child_process import start_child, stop_child
from .layout import build_environment
from .servers import Postgres, Redis, reserve_free_port, wait_until
from .services import SERVICES, Service


class TemporaryServers:
    """Reserves ports at once, so that settings can name them; `start` runs the servers."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="test-servers-")
        self.folder = Path(self._folder.name)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.postgres = Postgres(self.folder / "postgres", reserve_free_port(), durable=False)
        self.redis = Redis(self.folder / "redis", reserve_free_port(), durable=False)

    def start(self) -> None:
        """Run both servers and create every service's role and database."""
        self.postgres.prepare()
        self.redis.prepare()
        for server in (self.postgres, self.redis):
            self._processes.append(start_child(server.command, self.folder / "log"))
        wait_until(self.postgres.is_ready, "PostgreSQL")
        wait_until(self.redis.is_ready, "Redis")
        for service in SERVICES:
            self.postgres.create_database(service.short, service.database_name)

    def stop(self) -> None:
        for process in self._processes:
            stop_child(process)
        self._folder.cleanup()

    def get_environment(self, service: Service) -> Mapping[str, str]:
        """Return the service's variables; every service has two Redis databases of its own."""
        number = 2 * SERVICES.index(service) + 1  # database 0 is for tests outside any service
        return build_environment(service, self.postgres, self.redis, number, self.folder)
