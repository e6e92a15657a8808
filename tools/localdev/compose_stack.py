"""The stack in Docker with the same methods as LocalDevStack, for the tests across services."""

import json
from collections.abc import Mapping

from .servers import HOST, run, wait_until
from .services import ROOT, SERVICES, get_default_ports

COMPOSE_FILE = str(ROOT / "docker-compose.yml")
PROJECT_NAME = "platform-test"  # keeps containers and data apart from those of `make up`


class ComposeStack:
    """Runs docker-compose.yml unchanged except for the `overrides` of the services' variables."""

    def __init__(self, overrides: Mapping[str, str]) -> None:
        self.overrides = overrides

    def up(self) -> None:
        """Build and start everything; wait until all containers are healthy."""
        self.run_compose("--file", "-", "up", "-d", "--build", "--wait")

    def reset(self) -> None:
        self.run_compose("down", "--volumes", "--remove-orphans")

    def get_url(self, name: str) -> str:
        return f"http://{HOST}:{get_default_ports()[name]}"

    def stop(self, name: str) -> None:
        self.run_compose("stop", name)

    def start(self, name: str) -> None:
        self.run_compose("start", name)
        wait_until(lambda: self.inspect(name, "State.Health.Status") == "healthy", name, seconds=60)

    def kill(self, name: str) -> None:
        """Send kill -9 from outside: after `docker kill` the engine would not restart it."""
        kill = [self.inspect(name, "Image"), "-c", f"kill -9 {self.inspect(name, 'State.Pid')}"]
        helper = ["docker", "run", "--rm", "--privileged", "--pid=host", "--user=0"]
        run([*helper, "--entrypoint=sh", *kill])

    def freeze(self, name: str) -> None:
        self.run_compose("pause", name)

    def thaw(self, name: str) -> None:
        self.run_compose("unpause", name)

    def flush_redis(self, short: str) -> None:
        self.run_compose("exec", "-T", f"{short}-redis", "redis-cli", "FLUSHALL")

    def read_logs(self, name: str) -> str:
        # Some versions begin each line with a terminal code that clears it.
        return self.run_compose("logs", "--no-log-prefix", name).replace("\x1b[2K", "")

    def inspect(self, name: str, field: str) -> str:
        container = self.run_compose("ps", "--all", "--quiet", name).strip()
        return run(["docker", "inspect", "--format", f"{{{{.{field}}}}}", container]).strip()

    def run_compose(self, *arguments: str) -> str:
        command = ["docker", "compose", "--project-name", PROJECT_NAME, "--file", COMPOSE_FILE]
        return run([*command, *arguments], self.build_overlay())

    def build_overlay(self) -> str:
        """Return a second compose file with the overrides for every process of every service."""
        kinds = [(s.short, kind) for s in SERVICES for kind in ("service", *s.background)]
        environment = {"environment": dict(self.overrides)}
        return json.dumps({"services": {f"{short}-{kind}": environment for short, kind in kinds}})
