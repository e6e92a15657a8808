"""Runs `python -m tools.forking new NAME PORT`, `remove NAME` or `eject SERVICE FOLDER`."""

import sys
from collections.abc import Callable

from tools.localdev.servers import StartError

from .eject import eject
from .new_service import create_service, remove_service

COMMANDS: dict[str, Callable[..., None]] = {
    "new": create_service,
    "remove": remove_service,
    "eject": eject,
}


def main() -> None:
    command, *arguments = sys.argv[1:] or ["help"]
    if command not in COMMANDS:
        sys.exit(__doc__)
    try:
        COMMANDS[command](*arguments)
    except StartError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
