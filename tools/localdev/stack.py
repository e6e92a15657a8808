"""The whole platform without Docker: `up` starts it in order and waits until it is ready."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from .child_process import bare
from .layout import Layout, Process
from .servers import Redis, StartError, is_open
from .services import SERVICES, Service
from .supervisor import Supervisor

LEAST_FREE = 500 * 1024**2  # bytes of disk
PATIENCE = 180.0  # seconds, for what runs
SECOND_CHANCES = 5.0  # seconds, for what crashes
LINES_OF_LOG = 15


class LocalDevStack:
    """One stack: its data in `folder`, its listeners on `ports`."""

    def __init__(
        self,
        folder: Path,
        ports: Mapping[str, int],
        overrides: Mapping[str, str] | None = None,
        *,
        leash: bool = False,  # True: it ends with this Python process, however that ends
        say: Callable[[str], None] = print,
    ) -> None:
        self.layout = Layout(folder, ports, overrides or {}, is_private=leash)
        self.processes = {process.name: process for process in self.layout.processes()}
        self.supervisor = Supervisor(folder)
        self.leash = leash
        self.say = say

    def up(self) -> None:
        """Start what does not run and restart what has changed; StartError says why it cannot."""
        self.layout.folder.mkdir(parents=True, exist_ok=True)
        self.refuse_full_disk()
        self.refuse_taken_ports()
        self.layout.prepare()
        self.supervisor.apply(self.processes.values(), self.leash)
        self.bring_up(self.layout.servers())
        self.migrate([service for service in SERVICES if not self.runs(service.name)])
        self.bring_up(self.layout.services())

    def down(self) -> None:
        """Stop everything, first what stands on the servers; the data stay."""
        if self.supervisor.answers():
            self.supervisor.stop_all(process.name for process in self.layout.services())
        self.supervisor.shut_down()

    def reset(self) -> None:
        """Stop everything and delete all data."""
        self.down()
        shutil.rmtree(self.layout.folder, ignore_errors=True)

    def restart(self, names: Iterable[str]) -> None:
        """Stop these, then `up`: they start with today's code, settings and schema."""
        for name in names:
            self.stop(name)
        self.up()

    def stop(self, name: str) -> None:
        """Stop one process until it is started again."""
        self.supervisor.stop(name)

    def start(self, name: str) -> None:
        """Start one process and wait until it is ready."""
        self.bring_up([self.processes[name]])

    def kill(self, name: str) -> None:
        """kill -9; the supervisor starts it again."""
        self.supervisor.call("signalProcess", name, "KILL")

    def freeze(self, name: str) -> None:
        """It stands still, and keeps all its connections, until `thaw`."""
        self.supervisor.call("signalProcess", name, "STOP")

    def thaw(self, name: str) -> None:
        self.supervisor.call("signalProcess", name, "CONT")

    def url(self, name: str) -> str:
        return self.layout.url(name)

    def flush_redis(self, short: str) -> None:
        """Empty the Redis of a service, as a restart without its disk would."""
        port = self.layout.ports[f"{short}-redis"]
        Redis(self.layout.folder, port).ask("FLUSHALL")

    def logs(self, name: str) -> str:
        file = self.log_file(name)
        return file.read_text(errors="replace") if file.exists() else ""

    def log_file(self, name: str) -> Path:
        return self.layout.folder / "logs" / f"{name}.log"

    def runs(self, name: str) -> bool:
        return bool(self.supervisor.states()[name]["statename"] in ("STARTING", "RUNNING"))

    def bring_up(self, processes: Iterable[Process]) -> None:
        """Start those that do not run, all at once, then wait for each."""
        waiting = list(processes)
        started = time.monotonic()
        for process in waiting:
            if not self.runs(process.name):
                self.supervisor.call("startProcess", process.name, False)
        for process in waiting:
            self.wait_for(process)
            self.say(f"  {process.name:<24} ready  {time.monotonic() - started:5.1f} s")

    def wait_for(self, process: Process) -> None:
        """Return once it is ready; say with its own last words that it will not be."""
        started = time.monotonic()
        while not process.ready():
            waited = time.monotonic() - started
            crashes = self.supervisor.states()[process.name]["statename"] in ("BACKOFF", "FATAL")
            if waited > (SECOND_CHANCES if crashes else PATIENCE):
                raise StartError(f"{process.name} does not come up.\n{self.last_words(process)}")
            time.sleep(0.1)

    def last_words(self, process: Process) -> str:
        lines = self.logs(process.name).splitlines()[-LINES_OF_LOG:]
        return "\n".join([f"The end of {self.log_file(process.name)}:", *lines])

    def migrate(self, services: list[Service]) -> None:
        """Make the databases of these services, and bring them to the newest schema."""
        for service in services:
            self.layout.postgres.create(service.short, service.database_name)
        with ThreadPoolExecutor() as pool:
            for service in pool.map(self.migrate_one, services):
                self.say(f"  {service.database_name:<24} migrated")

    def migrate_one(self, service: Service) -> Service:
        done = subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=service.folder,
            env={**(bare() if self.leash else os.environ), **self.layout.environment(service)},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise StartError(f"The migrations of {service.name} failed.\n{done.stderr.strip()}")
        return service

    def refuse_full_disk(self) -> None:
        free = shutil.disk_usage(self.layout.folder).free
        if free < LEAST_FREE:
            raise StartError(
                f"The disk is full: {free // 1024**2} MB left for {self.layout.folder},"
                f" {LEAST_FREE // 1024**2} are needed"
            )

    def refuse_taken_ports(self) -> None:
        """Only of what does not run: its own listeners are no strangers."""
        running = self.supervisor.answers()
        for process in self.processes.values():
            if running and process.name in self.supervisor.states() and self.runs(process.name):
                continue
            for port in filter(is_open, process.ports):
                raise StartError(
                    f"Port {port} for {process.name} is taken by {listener(port)}:"
                    " stop that first, then try again"
                )


def listener(port: int) -> str:
    """Who listens on a port, as far as this user may know."""
    for connection in psutil.net_connections("tcp"):
        here = connection.laddr and connection.laddr.port == port
        if here and connection.status == psutil.CONN_LISTEN and connection.pid:
            command = " ".join(psutil.Process(connection.pid).cmdline())
            return f"process {connection.pid} ({command})"
    return "another program"
