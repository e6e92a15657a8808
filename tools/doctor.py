"""`make doctor`: says at once what this machine lacks to run the platform, and what to do.

It runs before anything is installed, so it uses the standard library alone.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tools.localdev.servers import describe_listener, is_open
from tools.localdev.services import ROOT, get_default_ports

MIN_FREE_DISK_GB = 2.0  # the packages take 0.7 GB; the rest is for data and tests
MIN_MEMORY_GB = 2.0
COMMAND_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Finding:
    """Holds one result; `remedy` says what to do when it is not `ok`."""

    what: str
    ok: bool
    remedy: str = ""
    is_needed: bool = True

    def __str__(self) -> str:
        if self.ok:
            return f"  ok        {self.what}"
        return f"  {'PROBLEM ' if self.is_needed else 'optional'}  {self.what}: {self.remedy}"


def examine_machine() -> Iterator[Finding]:
    yield check_python()
    yield check_platform()
    if os.getuid() == 0:
        remedy = "PostgreSQL does not run as root: use another user, or install setpriv"
        yield Finding("setpriv", bool(shutil.which("setpriv")), remedy)
    yield Finding("git", bool(shutil.which("git")), "install git")
    yield Finding("curl", bool(shutil.which("curl")), "the examples use it", is_needed=False)
    remedy = "without it, pip installs the packages, slower"
    yield Finding("uv", bool(shutil.which("uv")), remedy, is_needed=False)
    yield check_disk()
    yield check_memory()
    yield from check_ports(get_default_ports(), is_platform_running())
    yield from check_docker()


def check_python() -> Finding:
    what = f"Python {platform.python_version()}"
    can_create_venv = shutil.which("uv") or importlib.util.find_spec("ensurepip")
    remedy = "it cannot create a virtual environment: install its venv package (python3-venv)"
    return Finding(what, bool(can_create_venv), remedy)


def check_platform() -> Finding:
    what = f"{platform.system()} on {platform.machine()}"
    if platform.system() == "Darwin":
        remedy = "two packages have no wheels for Intel: install Rust, or use STACK=docker"
        return Finding(what, platform.machine() == "arm64", remedy, is_needed=False)
    has_wheels = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
    remedy = "PostgreSQL and Valkey come for macOS and for Linux with glibc: use STACK=docker"
    return Finding(what, has_wheels, remedy)


def check_disk() -> Finding:
    free = shutil.disk_usage(ROOT).free / 1024**3
    remedy = f"{MIN_FREE_DISK_GB:.0f} GB are needed in {ROOT}: delete something"
    return Finding(f"{free:.1f} GB of free disk", free >= MIN_FREE_DISK_GB, remedy)


def check_memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    remedy = f"everything together may be slow with less than {MIN_MEMORY_GB:.0f} GB"
    return Finding(f"{total:.1f} GB of memory", total >= MIN_MEMORY_GB, remedy, is_needed=False)


def check_ports(ports: Mapping[str, int], is_running: bool) -> Iterator[Finding]:
    """Report every taken port; all are taken while the platform itself is running."""
    if is_running:
        yield Finding("Ports: the platform is running", True)
        return
    taken = {name: port for name, port in ports.items() if is_open(port)}
    for name, port in taken.items():
        remedy = f"taken by {describe_listener(port)}: stop that"
        yield Finding(f"Port {port} for {name}", False, remedy)
    if not taken:
        yield Finding(f"{len(ports)} free ports", True)


def is_platform_running() -> bool:
    pid_file = ROOT / ".local" / "supervisord.pid"
    try:
        os.kill(int(pid_file.read_text()), 0)
    except (OSError, ValueError):
        return bool(get_output("docker", "compose", "ps", "--quiet"))
    return True


def check_docker() -> Iterator[Finding]:
    """Check what only STACK=docker needs."""
    is_needed = os.getenv("STACK") == "docker"
    commands: list[tuple[str, str, tuple[str, ...]]] = [
        ("Docker engine", "install or start Docker", ("info", "--format", "{{.ServerVersion}}")),
        ("Compose plugin", "install docker-compose-plugin", ("compose", "version", "--short")),
        ("Buildx plugin", "install docker-buildx-plugin", ("buildx", "version")),
    ]
    for what, remedy, arguments in commands:
        only = "" if is_needed else " (only STACK=docker needs it)"
        yield Finding(what, bool(get_output("docker", *arguments)), remedy + only, is_needed)


def get_output(*command: str) -> str:
    """Return the output of a command, or "" when it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def main() -> None:
    findings = list(examine_machine())
    print(*findings, sep="\n")
    if any(finding.is_needed and not finding.ok for finding in findings):
        sys.exit("\nSolve each PROBLEM above, then run `make doctor` again")
    print("\nEverything that `make up` needs is there")


if __name__ == "__main__":
    main()
