"""Runs a stack for one benchmark: everything on one core, the measured server on the other."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from tools.localdev.child_process import start_child, stop_child
from tools.localdev.layout import is_responding, reserve_free_ports
from tools.localdev.servers import reserve_free_port, wait_until
from tools.localdev.services import ROOT, SERVICES
from tools.localdev.stack import LocalDevStack

MEASURED_CORE = 0
OTHER_CORE = 1
BOTH_CORES = f"{MEASURED_CORE},{OTHER_CORE}"


@contextmanager
def run_stack(overrides: Mapping[str, str]) -> Iterator[LocalDevStack]:
    """Run the whole platform on free ports and on the other core; delete it at the end."""
    os.sched_setaffinity(0, {OTHER_CORE})
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        stack = LocalDevStack(Path(folder, "stack"), reserve_free_ports(), overrides, as_child=True)
        try:
            stack.up()
            yield stack
        finally:
            stack.reset()


def build_environment(
    stack: LocalDevStack, short: str, overrides: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return the environment of a measured process of a service."""
    service = next(service for service in SERVICES if service.short == short)
    paths = os.pathsep.join([str(ROOT), str(service.folder)])
    own = stack.layout.get_environment(service)
    return {**os.environ, **own, "PYTHONPATH": paths, **overrides}


@contextmanager
def run_measured_server(
    stack: LocalDevStack, short: str, app: str, cores: str = str(MEASURED_CORE), **overrides: str
) -> Iterator[str]:
    """Run an ASGI app with a service's environment on the measured core; yield its URL."""
    port = reserve_free_port()
    command = ["taskset", "-c", cores, sys.executable, "-m", "uvicorn", app, "--port", str(port)]
    command += ["--log-level", "warning", "--no-access-log", "--no-server-header"]
    log = stack.layout.folder / f"measured-{port}.log"
    process = start_child(command, log, build_environment(stack, short, overrides))
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_responding(f"{url}/health/ready"), f"{app} (see {log})")
        yield url
    finally:
        stop_child(process)
