"""A copy of this repository in which a test may do what it likes, with the same packages."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.localdev.services import ROOT

NOBODY = {"GIT_AUTHOR_NAME": "Tess", "GIT_AUTHOR_EMAIL": "tess@example.com"}
NOBODY |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in NOBODY.items()}
A_DAY = 24 * 60 * 60  # seconds


@dataclass(frozen=True)
class Repository:
    """A folder under git with a Makefile of ours in it."""

    folder: Path

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**kept, **NOBODY, **variables},
            capture_output=True,
            text=True,
        )

    def must(self, *command: str, **variables: str) -> str:
        """Run it, to succeed."""
        done = self.run(*command, **variables)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def commit(self) -> None:
        self.must("git", "add", "--all")
        self.must("git", "commit", "--quiet", "--message", "As it is now")

    def changes(self) -> str:
        return self.must("git", "status", "--porcelain")

    def share_packages(self) -> None:
        """Give it a .venv that is this one under another name, and that make finds new enough."""
        (self.folder / ".venv").mkdir()
        for part in Path(sys.prefix).iterdir():
            if part.name != "installed":
                (self.folder / ".venv" / part.name).symlink_to(part)
        stamp = self.folder / ".venv" / "installed"
        stamp.touch()
        os.utime(stamp, (stamp.stat().st_mtime + A_DAY,) * 2)


def copy_of_this(folder: Path) -> Repository:
    """The working tree as it is, in a repository of its own with one commit."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    copy = Repository(folder)
    copy.must("git", "init", "--quiet")
    copy.commit()
    copy.share_packages()
    return copy
