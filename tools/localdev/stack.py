"""The whole platform without Docker: `up` starts it in order and waits until it is ready."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .child_process import get_minimal_environment
from .layout import Layout, Process
from .servers import Redis, StartError, describe_listener, is_open
from .services import SERVICES, Service
from .supervisor import Supervisor

MIN_FREE_DISK_BYTES = 500 * 1024**2
START_TIMEOUT_SECONDS = 180.0  # for a process that runs
CRASH_TIMEOUT_SECONDS = 5.0  # for a process that crashes
SHOWN_LOG_LINES = 15


class LocalDevStack:
    """Controls one stack with its data in `folder` and its listeners on `ports`."""

    def __init__(
        self,
        folder: Path,
        ports: Mapping[str, int],
        overrides: Mapping[str, str] | None = None,
        *,
        as_child: bool = False,  # True: ends with this Python process, however that ends
        min_free_bytes: int = MIN_FREE_DISK_BYTES,
        say: Callable[[str], None] = print,
    ) -> None:
        self.layout = Layout(folder, ports, overrides or {}, is_private=as_child)
        self.processes = {process.name: process for process in self.layout.build_processes()}
        self.supervisor = Supervisor(folder)
        self.as_child = as_child
        self.min_free_bytes = min_free_bytes
        self.say = say

    def up(self) -> None:
        """Start stopped processes and restart changed ones. Raises StartError with the reason."""
        self.layout.folder.mkdir(parents=True, exist_ok=True)
        self.require_disk_space()
        self.require_free_ports()
        self.layout.prepare()
        self.supervisor.apply(self.processes.values(), self.as_child)
        self.start_and_wait(self.layout.build_servers())
        self.migrate([service for service in SERVICES if not self.is_running(service.name)])
        self.start_and_wait(self.layout.build_services())

    def down(self) -> None:
        """Stop everything, the services before the servers; the data are kept."""
        if self.supervisor.is_running():
            self.supervisor.stop_all(process.name for process in self.layout.build_services())
        self.supervisor.shut_down()

    def reset(self) -> None:
        self.down()
        shutil.rmtree(self.layout.folder, ignore_errors=True)

    def restart(self, names: Iterable[str]) -> None:
        """Stop these, then call `up`: they start with the current code, settings and schema."""
        for name in names:
            self.stop(name)
        self.up()

    def stop(self, name: str) -> None:
        self.supervisor.stop(name)

    def start(self, name: str) -> None:
        self.start_and_wait([self.processes[name]])

    def kill(self, name: str) -> None:
        """Send kill -9; the supervisor starts the process again."""
        self.supervisor.call_supervisord("signalProcess", name, "KILL")

    def freeze(self, name: str) -> None:
        self.supervisor.call_supervisord("signalProcess", name, "STOP")

    def thaw(self, name: str) -> None:
        self.supervisor.call_supervisord("signalProcess", name, "CONT")

    def get_url(self, name: str) -> str:
        return self.layout.get_url(name)

    def flush_redis(self, short: str) -> None:
        """Empty the Redis of a service, as a restart without a disk would."""
        port = self.layout.ports[f"{short}-redis"]
        Redis(self.layout.folder, port).send_command("FLUSHALL")

    def read_logs(self, name: str) -> str:
        file = self.get_log_file(name)
        return file.read_text(errors="replace") if file.exists() else ""

    def get_log_file(self, name: str) -> Path:
        return self.layout.folder / "logs" / f"{name}.log"

    def is_running(self, name: str) -> bool:
        return self.supervisor.get_state(name) in ("STARTING", "RUNNING")

    def start_and_wait(self, processes: Iterable[Process]) -> None:
        """Start the stopped ones among these processes together, then wait for each."""
        waiting = list(processes)
        started = time.monotonic()
        for process in waiting:
            if not self.is_running(process.name):
                self.supervisor.call_supervisord("startProcess", process.name, False)
        for process in waiting:
            self.wait_for(process)
            self.say(f"  {process.name:<24} ready  {time.monotonic() - started:5.1f} s")

    def wait_for(self, process: Process) -> None:
        """Wait until the process is ready. Raises StartError with the end of its log."""
        started = time.monotonic()
        while not process.is_ready():
            waited = time.monotonic() - started
            crashes = self.supervisor.get_state(process.name) in ("BACKOFF", "FATAL")
            if waited > (CRASH_TIMEOUT_SECONDS if crashes else START_TIMEOUT_SECONDS):
                end = f"The end of {self.get_log_file(process.name)}:"
                lines = self.read_logs(process.name).splitlines()[-SHOWN_LOG_LINES:]
                raise StartError("\n".join([f"{process.name} does not start.", end, *lines]))
            time.sleep(0.1)

    def migrate(self, services: list[Service]) -> None:
        """Create the databases of these services and migrate them to the newest schema."""
        for service in services:
            self.layout.postgres.create_database(service.short, service.database_name)
        with ThreadPoolExecutor() as pool:
            for service in pool.map(self.migrate_service, services):
                self.say(f"  {service.database_name:<24} migrated")

    def migrate_service(self, service: Service) -> Service:
        outer = get_minimal_environment() if self.as_child else os.environ
        env = {**outer, **self.layout.get_environment(service)}
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        done = subprocess.run(command, cwd=service.folder, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise StartError(f"The migrations of {service.name} failed.\n{done.stderr.strip()}")
        return service

    def require_disk_space(self) -> None:
        free = shutil.disk_usage(self.layout.folder).free
        if free < self.min_free_bytes:
            raise StartError(
                f"The disk is full: {free // 1024**2} MB left for {self.layout.folder},"
                f" {self.min_free_bytes // 1024**2} MB are needed"
            )

    def require_free_ports(self) -> None:
        """Check the ports of processes that do not run yet; running ones use theirs."""
        states = self.supervisor.get_states() if self.supervisor.is_running() else {}
        for process in self.processes.values():
            if process.name in states and self.is_running(process.name):
                continue
            for port in filter(is_open, process.ports):
                raise StartError(
                    f"Port {port} for {process.name} is taken by {describe_listener(port)}:"
                    " stop that first, then try again"
                )
