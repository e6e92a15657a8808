"""Shorter pauses: the garbage collector leaves alone what start-up made (ADR 0006)."""

import gc

COLLECTION_THRESHOLD = (
    10_000  # made before the collector looks at them; by default 700, a few requests
)


def freeze_startup_objects() -> None:
    """To be called once the process is ready: what is there now stays for good."""
    if not gc.get_freeze_count():  # once in a process, though tests start many apps
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECTION_THRESHOLD)
