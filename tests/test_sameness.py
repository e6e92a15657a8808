"""Tests that files all services share are the same in each of them and in the template."""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from chassis.settings import Settings
from tools.localdev.services import ROOT

from .services_under_test import SERVICE_FOLDERS

SAME = ["main.py", "alembic.ini", "migrations/script.py.mako"]
TEMPLATES = sorted(ROOT.glob("tools/forking/template/*-service"))  # none in an ejected repository
# Lines of a Dockerfile that may differ: what else a service needs in its image.
OWN_STEPS = re.compile(
    r"^(# .*\n)?COPY \S+/requirements.*\nRUN .* pip install -qr requirements.*\n"
    r"| && install -d -o app data",
    re.M,
)


@pytest.mark.parametrize("name", SAME)
def test_a_file_is_the_same_in_all_services_but_for_the_name(name: str) -> None:
    texts = {nameless((path / name).read_text(), path) for path in SERVICE_FOLDERS + TEMPLATES}

    assert len(texts) == 1


def test_the_dockerfiles_are_the_same_but_for_names_ports_and_own_packages() -> None:
    texts = {
        OWN_STEPS.sub("", nameless((path / "Dockerfile").read_text(), path))
        for path in SERVICE_FOLDERS + TEMPLATES
    }

    assert len(texts) == 1


def nameless(text: str, folder: Path) -> str:
    """Replace the service's name and port by placeholders."""
    name = folder.name.removesuffix("-service")
    port = tomllib.loads((folder / "service.toml").read_text())["port"]
    return text.replace(name, "NAME").replace(str(port), "PORT")


def test_alembic_runs_from_any_folder(
    folder: Path, migrated: Callable[[str], None], settings: Settings, tmp_path: Path
) -> None:
    migrated(folder.name)

    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(folder / "alembic.ini"), "current"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "DATABASE_URL": settings.database_url},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert "(head)" in done.stdout
