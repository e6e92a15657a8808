"""`python -m tools.forking new NAME PORT`, `remove NAME` or `eject SERVICE FOLDER`; see make."""

import sys

from tools.localdev.servers import StartError

from .eject import eject
from .new_service import new, remove

ORDERS = {f.__name__: f for f in (new, remove, eject)}


def main() -> None:
    order, *arguments = sys.argv[1:] or ["help"]
    if order not in ORDERS:
        sys.exit(__doc__)
    try:
        ORDERS[order](*arguments)
    except StartError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
