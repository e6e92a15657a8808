"""The chassis imports no service, and opens nothing when it is imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tools.localdev.services import ROOT, SERVICES

CHASSIS = ROOT / "chassis"
MODULES = sorted(CHASSIS.glob("*.py"))

DRIVERS = {"asyncpg", "psycopg2", "psycopg"}
PACKAGES = {service.package for service in SERVICES}
ELSEWHERE = {"tools", "tests"}


def imported(module: Path) -> set[str]:
    """Return the top-level packages that a module imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_it_imports_no_service_and_no_driver(module: Path) -> None:
    assert imported(module).isdisjoint(PACKAGES | DRIVERS | ELSEWHERE)


PROBE = """
import socket, sys, threading
def refuse(*_): raise AssertionError("a socket was opened at import")
socket.socket.connect = socket.create_connection = refuse
for name in {names!r}:
    __import__("chassis." + name)
from chassis.app import create_app
from chassis.celery_app import create_celery
from chassis.settings import Settings
settings = Settings(
    _env_file=None, service_name="toy-service", service_port=8009,
    database_url="postgresql://db/toy", redis_url="redis://redis",
)
create_app(settings)
create_celery(settings, "redis://redis")
assert threading.active_count() == 1, threading.enumerate()
assert not sys.modules.keys() & {drivers!r}
"""


def test_importing_it_opens_nothing() -> None:
    names = [module.stem for module in MODULES if module.stem != "__init__"]
    probe = PROBE.format(names=names, drivers=DRIVERS)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", probe],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
