"""Shorter pauses for garbage collection: it skips the objects made at start-up (ADR 0006)."""

import gc

COLLECTION_THRESHOLD = 10_000  # new objects; the default of 700 is reached in a few requests


def freeze_startup_objects() -> None:
    """Exclude all present objects from collection; call it once the process is ready."""
    if not gc.get_freeze_count():  # once per process, although tests start many apps
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECTION_THRESHOLD)
