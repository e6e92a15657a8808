"""`python -m forking new NAME PORT`, `remove NAME`, `eject SERVICE FOLDER`; `make` calls it."""

import sys

from localstack.servers import StartError

from .eject import eject
from .services import new, remove

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
