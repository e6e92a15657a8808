"""The toy service's Celery app; each task leaves a line in a file."""

import json
import os
import time
from pathlib import Path

from chassis.celery_app import create_celery
from chassis.tracing import get_trace_id

from .toy import toy_settings

app = create_celery(toy_settings(), os.environ.get("TOY_BROKER_URL", "redis://127.0.0.1:1/0"))


@app.task
def note(words: str, path: str, seconds: float = 0) -> None:
    time.sleep(seconds)
    with Path(path).open("a") as file:
        file.write(json.dumps({"words": words, "trace_id": get_trace_id()}) + "\n")


@app.task
def pass_on(words: str, path: str) -> None:
    note.delay(words, path)


@app.task
def fail(path: str) -> None:
    raise RuntimeError("as it should")
