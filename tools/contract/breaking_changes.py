"""Finds changes of the documents that would break a client and that CHANGELOG.md does not name.

The documents in the work tree are compared with those of an earlier commit: $BASE, else the commit
where this branch left main, or on main itself the commit before the last. A change is named if a
line that is new under `Unreleased` has the operation (`POST /documents`), its operationId, or the
schema.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .programs import run_program

CHANGELOG = "CHANGELOG.md"
PREFIX = "/api/v1"
UNRELEASED = re.compile(r"^## \[Unreleased\]\n(.*?)(?=^## |\Z)", re.M | re.S)
SCHEMA = re.compile(r"#/components/schemas/([^/]+)")


@dataclass(frozen=True)
class BreakingChange:
    """Holds what broke, and the names under which the changelog may announce it."""

    text: str
    names: frozenset[str]

    def is_named_in(self, lines: str) -> bool:
        # Not followed by more of a path or name: `GET /documents` is not `GET /documents/{id}`.
        return any(re.search(rf"(?<!\w){re.escape(n)}(?![\w/{{-])", lines) for n in self.names)


def run_git(root: Path, *command: str) -> str | None:
    """Return the output of a git command, or None if it fails: there is no such commit or file."""
    done = subprocess.run(["git", *command], cwd=root, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def find_base(root: Path) -> str | None:
    """Return the commit to compare with, or None if there is none yet."""
    if base := os.environ.get("BASE"):
        return base
    head = run_git(root, "rev-parse", "HEAD")
    for main in ("origin/main", "main"):
        base = run_git(root, "merge-base", "HEAD", main)
        if base and base != head:
            return base
    return run_git(root, "rev-parse", "--verify", "HEAD^")


def find_unnamed_changes(root: Path) -> Iterator[str]:
    """Find the breaking changes of every document since the base, one line for each."""
    base = find_base(root)
    new_lines = get_new_lines(root, base)
    for file in sorted((root / "docs" / "openapi").glob("*.json")):
        before = base and run_git(root, "show", f"{base}:{file.relative_to(root)}")
        if before:  # a new document breaks no client
            for change in compare_documents(before, file.read_text()):
                if not change.is_named_in(new_lines):
                    yield f"{file.name}: {change.text}"


def get_new_lines(root: Path, base: str | None) -> str:
    """Return the lines under `Unreleased` that the base does not have."""
    known = set(((base and run_git(root, "show", f"{base}:{CHANGELOG}")) or "").splitlines())
    file = root / CHANGELOG
    section = UNRELEASED.search(file.read_text()) if file.exists() else None
    lines = section[1].splitlines() if section else []
    return "\n".join(line for line in lines if line not in known)


def compare_documents(before: str, after: str) -> list[BreakingChange]:
    """Return what a client of the first document would stumble over in the second."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (("before.json", before), ("after.json", after)):
            (folder / file).write_text(text)
        command = ["redocly", "diff", "before.json", "after.json", "--fail-on", "none"]
        done = run_program(*command, "--format", "json", "--output", "diff.json", folder=folder)
        assert done.returncode == 0, done.stdout
        found = json.loads((folder / "diff.json").read_text())["changes"]
    operations = json.loads(before)["paths"]
    return [
        BreakingChange(f"{describe_place(change)}: {verdict['message']}",
                       frozenset(find_names(change, verdict, operations)))
        for change in found for verdict in change["verdicts"] if verdict["impact"] == "major"
    ]  # fmt: skip


def get_path_and_method(change: dict[str, Any]) -> tuple[str, str]:
    """Return the path and method that a change is about, each empty if it is about more."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in change["path"].split("/")]
    path, method = [*parts, "", "", ""][2:4] if parts[1:2] == ["paths"] else ("", "")
    return path, method


def describe_place(change: dict[str, Any]) -> str:
    path, method = get_path_and_method(change)
    return f"{method.upper()} {path}".strip() or str(change["path"])


def find_names(
    change: dict[str, Any], verdict: dict[str, Any], operations: dict[str, Any]
) -> Iterator[str]:
    """Find the operation, its operationId and the schemas that a change is about."""
    path, method = get_path_and_method(change)
    for each in [method] if method else operations.get(path, {}):
        yield f"{each.upper()} {path}"
        yield f"{each.upper()} {path.removeprefix(PREFIX)}"
        yield operations.get(path, {}).get(each, {}).get("operationId", path)
    for place in (verdict.get("location"), change.get("base"), change.get("revision")):
        yield from SCHEMA.findall((place or {}).get("pointer", ""))
