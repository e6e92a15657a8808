"""Runs a command that must not outlive its parent: `python child_process.py COMMAND...`.

The parent holds the other end of this process's stdin. When the parent closes it or dies, even by
kill -9, this process interrupts the command and waits for its end.
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
    """Start a command that ends with this process, however that ends; it writes to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, __file__, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches only the parent, which then stops its children
        )


def get_minimal_environment() -> dict[str, str]:
    """Return what any program needs of the environment, without the developer's own variables."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def stop_child(process: subprocess.Popen[bytes]) -> None:
    """Stop what `start_child` started, and wait for its end."""
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
