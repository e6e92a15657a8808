"""Tests what GitHub reads: pinned actions, least permissions, watched pins, the devcontainer."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tools.localdev.services import ROOT

WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
PINNED_ACTION = re.compile(r"[\w-]+(/[\w-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
READ_ONLY = {"contents": "read"}
EXTRA_PERMISSIONS = {"codeql.yml": {"security-events": "write"}}
MAX_JOB_MINUTES = 60
# The files in which an ecosystem of dependabot finds versions.
WATCHED_FILES = {
    "pip": "requirements*.txt",
    "docker": "Dockerfile",
    "docker-compose": "docker-compose.yml",
    "npm": "package.json",
    "devcontainers": "devcontainer.json",
}
every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: str(path.name))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@every_workflow
def test_an_action_is_pinned_by_its_commit_and_names_its_version(path: Path) -> None:
    uses = re.findall(r"uses: (.+)", path.read_text())

    assert uses
    assert [action for action in uses if not PINNED_ACTION.fullmatch(action)] == []


@every_workflow
def test_a_workflow_may_read_the_repository_and_do_nothing_else(path: Path) -> None:
    workflow = read(path)
    allowed = READ_ONLY | EXTRA_PERMISSIONS.get(path.name, {})

    assert workflow["permissions"] == READ_ONLY
    for job in workflow["jobs"].values():
        assert job.get("permissions", READ_ONLY) in (READ_ONLY, allowed)
        checkouts = [s for s in job["steps"] if s.get("uses", "").startswith("actions/checkout@")]
        assert [step["with"]["persist-credentials"] for step in checkouts] == [False]


@every_workflow
def test_a_newer_commit_ends_the_run_for_an_older_one_and_each_job_has_a_time_limit(
    path: Path,
) -> None:
    workflow = read(path)

    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert "github.ref" in workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert 0 < job["timeout-minutes"] <= MAX_JOB_MINUTES


def test_ci_runs_everything_on_every_supported_python_and_on_macos() -> None:
    job = read(ROOT / ".github/workflows/ci.yml")["jobs"]["everything"]

    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert [each["os"] for each in job["strategy"]["matrix"]["include"]] == ["macos-latest"]
    assert job["steps"][-1]["run"] == ".ci/run"


@every_workflow
def test_a_workflow_calls_only_commands_that_make_has(path: Path) -> None:
    makefiles = [ROOT / "Makefile", *ROOT.glob("tools/*/*.mk")]
    targets = {t for file in makefiles for t in re.findall(r"^([\w-]+):", file.read_text(), re.M)}

    assert set(re.findall(r"run: make ([\w-]+)", path.read_text())) <= targets


@pytest.mark.parametrize("ecosystem", WATCHED_FILES)
def test_dependabot_watches_every_folder_that_has_pins(ecosystem: str) -> None:
    updates = read(ROOT / ".github/dependabot.yml")["updates"]
    watched = [
        folder.strip("/") or "."
        for update in updates
        if update["package-ecosystem"] == ecosystem
        for folder in update.get("directories") or [update["directory"]]
    ]

    folders = find_folders(WATCHED_FILES[ecosystem])

    assert [f for f in folders if not any(fnmatch(f, pattern) for pattern in watched)] == []


def test_the_devcontainer_forwards_the_ports_of_the_pages_and_installs_everything() -> None:
    text = (ROOT / ".devcontainer/devcontainer.json").read_text()
    container = json.loads(re.sub("^//.*$", "", text, flags=re.M))

    assert container["forwardPorts"] == [8001, 8002, 8003, 8004, 1080]
    assert {int(port) for port in container["portsAttributes"]} == {*container["forwardPorts"]}
    assert container["postCreateCommand"] == "make install"


def find_folders(name: str) -> set[str]:
    """Find the folders of such files; dependabot looks for .devcontainer in the root."""
    files = [*ROOT.glob(name), *ROOT.glob(f"*/{name}"), *ROOT.glob(f"[!.]*/*/{name}")]
    folders = {file.parent.relative_to(ROOT) for file in files}
    own = {str(folder) for folder in folders if "node_modules" not in folder.parts}
    return {folder.replace(".devcontainer", ".") for folder in own}
