"""Runs a command that must not outlive its parent: `python child_process.py COMMAND...`.

The parent holds the other end of this process's stdin. When it closes that end, or dies in
whatever way (kill -9 included), the command is interrupted and waited for.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path


def start_child(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a command on a leash; it writes to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, __file__, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the parent alone, which then lets go
        )


def get_minimal_environment() -> dict[str, str]:
    """Of this process's environment what any program needs, and nothing of the developer's own."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def stop_child(process: subprocess.Popen[bytes]) -> None:
    """Stop what `leashed` started, and wait for it."""
    if process.stdin:
        process.stdin.close()
    process.wait()


def main() -> int:
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def interrupt_without_parent() -> None:
        os.read(0, 1)
        command.send_signal(signal.SIGINT)

    threading.Thread(target=interrupt_without_parent, daemon=True).start()
    return command.wait()


if __name__ == "__main__":
    sys.exit(main())
