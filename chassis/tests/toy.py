"""The smallest service there is, for the chassis's own tests."""

import time
from collections.abc import Callable
from typing import Any

from chassis.settings import Settings


class ToySettings(Settings):
    service_name: str = "toy-service"
    service_port: int = 8009
    database_url: str = "postgresql://toy:toy@toy-db:5432/toy_service"
    redis_url: str = "redis://127.0.0.1:1/0"  # nothing listens there


def toy_settings(**changes: Any) -> ToySettings:
    return ToySettings(_env_file=None, **changes)


def eventually(holds: Callable[[], bool], seconds: float = 5) -> bool:
    """Tell whether it becomes true within the time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
