"""Runs a command that must not outlive its parent: `python child_process.py COMMAND...`.

The parent holds the other end of this process's stdin. When the parent closes it or dies, even by
kill -9, this process interrupts the command and waits for its end.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

# The last one is how coverage measures processes that tests start (`make coverage`).
PASSED_VARIABLES = ("PATH", "HOME", "TMPDIR", "COVERAGE_PROCESS_CONFIG")


def start_child(command: list[str], log: Path, env: dict[str, str] | None = None) -> Popen[bytes]:
    """Start a command that ends with this process, however that ends; it writes to `log`."""
    program = [sys.executable, __file__, *command]
    if env is not None:
        env = {**get_minimal_environment(), **env}
    with log.open("ab") as out:  # a session of its own: Ctrl-C reaches only the parent
        return Popen(program, stdin=PIPE, stdout=out, stderr=out, env=env, start_new_session=True)


def get_minimal_environment() -> dict[str, str]:
    """Return what any program needs of the environment, without the developer's own variables."""
    return {name: os.environ[name] for name in PASSED_VARIABLES if name in os.environ}


def stop_child(process: Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()
    process.wait()


def main() -> int:
    command = Popen(sys.argv[1:], stdin=DEVNULL)

    def interrupt_without_parent() -> None:
        os.read(0, 1)
        command.send_signal(signal.SIGINT)

    threading.Thread(target=interrupt_without_parent, daemon=True).start()
    return command.wait()


if __name__ == "__main__":
    sys.exit(main())
