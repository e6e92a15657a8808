"""Tests that make works with GNU make 3.81 and BSD tools, as on macOS, and says what is missing."""

import re
import subprocess
from pathlib import Path

import pytest

from tools.localdev.services import ROOT

MAKEFILES = [ROOT / "Makefile", *ROOT.glob("tools/*/*.mk")]
NOT_PORTABLE = {
    "GNU make 3.82 or newer": r"^define \w+ *[:?]?=|\.ONESHELL|\.RECIPEPREFIX|^private |^undefine ",
    "GNU make 4 or newer": r"\$\((file|guile) |^\w+ *!=|::=",
    "paste without a file": r"paste -sd:?[^ ]* *[)|;]",
    "an option that BSD tools lack": r"xargs (-\w+ )*-r|sed -i|readlink -f|grep -\w*P|date -d",
    "a command inside double quotes": r'echo "[^"$]*`',
}


@pytest.mark.parametrize("what", NOT_PORTABLE)
def test_the_makefiles_use_only_what_old_make_and_bsd_tools_know(what: str) -> None:
    for file in MAKEFILES:
        assert re.findall(NOT_PORTABLE[what], file.read_text(), re.M) == [], f"{file}: {what}"


def make_tools(folder: Path, docker: str = "") -> str:
    """Create a PATH that has make and a shell, and Docker if a script for it is given."""
    for name in ("make", "sh", "sed", "test", "echo", "expr", "getconf", "ls", "cat"):
        (folder / name).symlink_to(Path("/usr/bin") / name)
    if docker:
        (folder / "docker").write_text(f"#!/bin/sh\n{docker}\n")
        (folder / "docker").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("docker", "message"),
    [
        ("", "There is no docker on the PATH"),
        ("exit 1", "Docker lacks its Compose plugin"),
        ('test "$1" = compose', "The Docker engine does not answer"),
    ],
)
def test_up_with_docker_says_in_one_line_what_is_missing_and_the_way_out(
    docker: str, message: str, tmp_path: Path
) -> None:
    path = make_tools(tmp_path, docker)

    done = subprocess.run(
        ["make", "up", "STACK=docker"], cwd=ROOT, env={"PATH": path}, capture_output=True, text=True
    )

    assert done.returncode != 0
    assert done.stdout.splitlines() == [f"{done.stdout.strip()}"]
    assert message in done.stdout and "STACK=local make up" in done.stdout
