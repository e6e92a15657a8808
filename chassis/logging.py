"""Logs on standard output: JSON lines with service and trace id, plain text when DEBUG is set."""

import logging.config

from .settings import Settings
from .tracing import trace_id

FIELDS = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Context(logging.Filter):
    """Puts the service's name and the trace id of the work at hand on each record."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def filter(self, record: logging.LogRecord) -> bool:
        record.service = self.service
        record.trace_id = trace_id() or "-"
        return True


def configure(settings: Settings) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"context": {"()": Context, "service": settings.service_name}},
            "formatters": {
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "fmt": FIELDS + " %(service)s %(trace_id)s",
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                },
                "text": {
                    "format": "%(asctime)s %(levelname)-7s %(trace_id).8s %(name)s: %(message)s"
                },
            },
            "handlers": {
                "stdout": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stdout",
                    "formatter": "text" if settings.debug else "json",
                    "filters": ["context"],
                }
            },
            "root": {"level": settings.log_level, "handlers": ["stdout"]},
            # The request log of metrics.py says more; httpx would log a line per call.
            "loggers": {
                name: {"level": "WARNING"} for name in ("uvicorn.access", "httpx", "httpcore")
            },
        }
    )
