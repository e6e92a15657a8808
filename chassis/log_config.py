"""Logging to standard output: JSON lines with service and trace id, or text when DEBUG is set."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

from .settings import Settings
from .tracing import get_trace_id

LOG_FIELDS = ("asctime", "levelname", "name", "message", "service", "trace_id")
FIELD_NAMES = {"asctime": "time", "levelname": "level", "name": "logger"}
TEXT_FORMAT = "%(asctime)s %(levelname)-7s %(trace_id).8s %(name)s: %(message)s"
# These write a line per call, wake-up or request, which observability.py logs and counts.
NOISY_LOGGERS = (
    "httpx",
    "httpx2",
    "uvicorn.access",
    "celery.beat",
    "celery.worker.strategy",
    "celery.app.trace",
)


def configure_logging(settings: Settings) -> None:
    def add_context(record: logging.LogRecord) -> bool:
        record.service = settings.service_name
        record.trace_id = get_trace_id() or "-"
        return True

    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(add_context)
    handler.setFormatter(
        logging.Formatter(TEXT_FORMAT)
        if settings.debug
        else JsonFormatter(list(LOG_FIELDS), rename_fields=FIELD_NAMES)
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(settings.log_level)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
