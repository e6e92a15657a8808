"""Makes a copy of this repository that a test may change, with the same packages."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.localdev.services import ROOT

GIT_IDENTITY = {"GIT_AUTHOR_NAME": "Tess", "GIT_AUTHOR_EMAIL": "tess@example.com"}
GIT_IDENTITY |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in GIT_IDENTITY.items()}
DAY_SECONDS = 24 * 60 * 60


@dataclass(frozen=True)
class Repository:
    """Runs commands in a git repository with our Makefile."""

    folder: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**kept, **GIT_IDENTITY, **variables},
            capture_output=True,
            text=True,
        )

    def run_successfully(self, *command: str, **variables: str) -> str:
        """Run a command that must succeed, and return its output."""
        done = self.run(*command, **variables)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def commit(self) -> None:
        self.run_successfully("git", "add", "--all")
        self.run_successfully("git", "commit", "--quiet", "--message", "As it is now")

    def get_changes(self) -> str:
        return self.run_successfully("git", "status", "--porcelain")

    def share_packages(self) -> None:
        """Link this .venv into the copy, with a time stamp that make considers new."""
        (self.folder / ".venv").mkdir()
        for part in Path(sys.prefix).iterdir():
            if part.name != "installed":
                (self.folder / ".venv" / part.name).symlink_to(part)
        stamp = self.folder / ".venv" / "installed"
        stamp.touch()
        os.utime(stamp, (stamp.stat().st_mtime + DAY_SECONDS,) * 2)


def copy_repository(folder: Path) -> Repository:
    """Copy the working tree into a repository of its own with one commit."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    copy = Repository(folder)
    copy.run_successfully("git", "init", "--quiet")
    copy.commit()
    copy.share_packages()
    return copy
