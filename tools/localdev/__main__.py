"""Runs `python -m tools.localdev COMMAND [NAME]`; `make help` lists the commands."""

import os
import sys
import time
from pathlib import Path

import watchfiles

from .servers import StartError
from .services import ROOT, SERVICES, get_default_ports
from .stack import LocalDevStack

FOLDER = ROOT / ".local"
WELCOME = Path(__file__).with_name("welcome.txt")


def up(stack: LocalDevStack) -> None:
    print(f"Starting on this machine without Docker; data are in {FOLDER}")
    stack.up()
    print(f"\n{WELCOME.read_text()}", end="")


def watch(stack: LocalDevStack) -> None:
    """Restart each process whose code changes, until Ctrl-C; a mistake is shown and waits."""
    up(stack)
    folders = [ROOT / "chassis", *(service.folder for service in SERVICES)]
    print("Watching the code of chassis and services; Ctrl-C ends watching, not the services")
    code = watchfiles.DefaultFilter(ignore_dirs=(*watchfiles.DefaultFilter.ignore_dirs, "tests"))
    for _ in watchfiles.watch(*folders, watch_filter=code, raise_interrupt=False):
        changed = LocalDevStack(FOLDER, get_default_ports(), say=lambda _: None)
        try:
            changed.up()
            print(f"{time.strftime('%X')} the new code is running")
        except StartError as error:
            print(f"error: {error}")


def down(stack: LocalDevStack) -> None:
    stack.down()
    print("Stopped. The data are kept; `make reset` deletes them")


def list_processes(stack: LocalDevStack) -> None:
    require_running_stack(stack)
    for name, state in stack.supervisor.get_states().items():
        ports = " ".join(map(str, stack.processes[name].ports))
        print(f"{name:<24} {state['statename']:<9} {ports:<10} {state['description']}")


def show_logs(stack: LocalDevStack, name: str = "") -> None:
    files = [stack.get_log_file(process) for process in ([name] if name else stack.processes)]
    follow = ["-F"] if sys.stdout.isatty() else []
    os.execvp("tail", ["tail", "-n", "100", *follow, *map(str, filter(Path.exists, files))])


def restart(stack: LocalDevStack, name: str = "") -> None:
    stack.restart(select_processes(stack, name))


def stop(stack: LocalDevStack, name: str = "") -> None:
    stack.supervisor.stop_all(select_processes(stack, name))


def start(stack: LocalDevStack, name: str = "") -> None:
    stack.start_and_wait(stack.processes[name] for name in select_processes(stack, name))


def select_processes(stack: LocalDevStack, name: str) -> list[str]:
    """Return the named process, or all services, workers and schedulers."""
    require_running_stack(stack)
    return [name] if name else [process.name for process in stack.layout.build_services()]


def require_running_stack(stack: LocalDevStack) -> None:
    if not stack.supervisor.is_running():
        raise StartError("Nothing is running: `make up` starts it")


def reset(stack: LocalDevStack) -> None:
    stack.reset()
    print("Stopped, and all data are deleted")


COMMANDS = {
    "up": up, "down": down, "ps": list_processes, "logs": show_logs, "restart": restart,
    "stop": stop, "start": start, "watch": watch, "reset": reset,
}  # fmt: skip


def main() -> None:
    command, *names = sys.argv[1:] or ["help"]
    stack = LocalDevStack(FOLDER, get_default_ports())
    if command not in COMMANDS:
        sys.exit(__doc__)
    if unknown := set(names) - set(stack.processes):
        sys.exit(f"error: there is no {unknown.pop()}; choose one of {', '.join(stack.processes)}")
    try:
        COMMANDS[command](stack, *names)
    except StartError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
