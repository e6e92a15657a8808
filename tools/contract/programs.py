"""Runs the programs that `make contract` installs beside this file, apart from the services'."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.localdev.child_process import get_minimal_environment
from tools.localdev.services import ROOT

FOLDER = Path(__file__).resolve().parent
BUILD = FOLDER / "build"  # generated clients and reports; git ignores it
PROGRAM_FOLDERS = (FOLDER / ".venv" / "bin", FOLDER / "node_modules" / ".bin")
# Redocly's command line reports its use and looks for updates unless these are set.
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


def run_program(
    *command: object, folder: Path = ROOT, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, without the developer's own variables."""
    path = os.pathsep.join([*map(str, PROGRAM_FOLDERS), os.environ["PATH"]])
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**get_minimal_environment(), **QUIET, "PATH": path, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_successfully(*command: object, variables: Mapping[str, str] | None = None) -> str:
    """Run a program that must succeed, and return its output."""
    done = run_program(*command, variables=variables)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout
