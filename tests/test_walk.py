"""Runs the walk in README.md as a user pastes it, on the stack of the tests."""

import subprocess
from pathlib import Path

from tools.localdev.services import ROOT, SERVICES

from .users import Stack


def read_walk(stack: Stack) -> str:
    text = (ROOT / "README.md").read_text()
    walk = text.partition("### A walk")[2].partition("```bash run\n")[2].partition("```")[0]
    for service in SERVICES:
        usual = f"http://localhost:{service.port}/"
        assert usual in walk
        walk = walk.replace(usual, f"{stack.get_url(service.name)}/")
    return walk


def paste(walk: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", walk], cwd=folder, capture_output=True, text=True)


def test_the_walk_works_in_any_folder_and_acts_on_its_own_task(
    stack: Stack, tmp_path: Path
) -> None:
    for _ in range(2):
        done = paste(read_walk(stack), tmp_path)

        assert (done.returncode, done.stderr) == (0, "")
        assert "Well argued" in done.stdout.splitlines()[-2]
        assert "run.completed" in done.stdout.splitlines()[-1]


def test_the_walk_stops_at_the_first_failure_and_shows_the_answer(
    stack: Stack, tmp_path: Path
) -> None:
    done = paste(read_walk(stack).replace("document-review", "no-such-review"), tmp_path)

    assert done.returncode != 0
    assert "Stopped: {" in done.stderr and "Traceback" not in done.stderr
    assert "workflow_id" not in done.stdout
