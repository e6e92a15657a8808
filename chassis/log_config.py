"""Logs on standard output: JSON lines with service and trace id, plain text when DEBUG is set."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from .settings import Settings
from .tracing import trace_id

FIELDS = ("asctime", "levelname", "name", "message", "service", "trace_id")
NAMES = {"asctime": "time", "levelname": "level", "name": "logger"}
TEXT = "%(asctime)s %(levelname)-7s %(trace_id).8s %(name)s: %(message)s"
# A line per call, sweep or request, of which metrics.py says more.
NOISY = (
    "httpx",
    "httpx2",
    "uvicorn.access",
    "celery.beat",
    "celery.worker.strategy",
    "celery.app.trace",
)


def configure(settings: Settings) -> None:
    def add_context(record: logging.LogRecord) -> bool:
        record.service = settings.service_name
        record.trace_id = trace_id() or "-"
        return True

    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(add_context)
    handler.setFormatter(
        logging.Formatter(TEXT)
        if settings.debug
        else JsonFormatter(list(FIELDS), rename_fields=NAMES)
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(settings.log_level)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
