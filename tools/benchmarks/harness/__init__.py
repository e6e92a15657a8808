"""Shared parts of the benchmarks: a stack, a load generator, and the bars."""

import sys
import time
from collections.abc import Callable
from typing import Any


def wait_for(find: Callable[[], Any], seconds: float = 120) -> Any:
    """Poll until `find` returns something true, and return that."""
    until = time.monotonic() + seconds
    while not (found := find()):
        if time.monotonic() > until:
            sys.exit("timed out: the expected state was not reached")
        time.sleep(0.02)
    return found
