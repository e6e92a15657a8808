"""The Celery app of a service: its messages wake up workers; the jobs themselves are in PostgreSQL.

Messages use the anonymous exchange (the queue's name is the routing key), the only one for which
kombu keeps no table in Redis: after a FLUSHALL, publishing and consuming simply continue.
"""

import os
from contextlib import AbstractContextManager
from logging import getLogger
from pathlib import Path
from threading import Lock
from typing import Any

from celery import Celery, signals
from fastapi import BackgroundTasks, Depends
from kombu.exceptions import OperationalError
from kombu.transport import redis

from . import gc_tuning, log_config
from .settings import Settings
from .tracing import TRACE_HEADER, get_trace_id, trace_context

logger = getLogger(__name__)

_publishing = Lock()
_trace_contexts: dict[str, AbstractContextManager[str]] = {}


class RedisChannel(redis.Channel):
    """Drops the messages in progress when the connection to Redis is lost.

    kombu restores or acknowledges them through the closed connection, which ends the worker with
    an AttributeError.
    """

    do_restore = False

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        if not self.closed:
            super().basic_ack(delivery_tag, multiple)


redis.Transport.Channel = RedisChannel


def create_celery(settings: Settings, broker_url: str) -> Celery:
    """Create an app that acknowledges late, keeps no results and has one queue of its own."""
    app = Celery(settings.short_name, broker=broker_url)
    app.conf.update(
        task_default_queue=f"{settings.short_name}:queue:wakeups",
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=4,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # forever
        broker_transport_options={
            "visibility_timeout": 60,
            "socket_connect_timeout": 1,
            "socket_timeout": 2,
            "max_retries": 0,
        },
        # A request must not wait for a broker that is down: the scheduler wakes the workers, too.
        task_publish_retry=False,
        beat_scheduler="celery.beat:Scheduler",
        timezone="UTC",
    )
    signals.setup_logging.connect(lambda **_: log_config.configure_logging(settings), weak=False)
    return app


def schedule_task(app: Celery, task: str, seconds: float) -> None:
    """Schedule the task every `seconds`; messages expire, so they do not pile up without a worker.

    They stay long enough for a worker whose clock is minutes ahead of the scheduler's.
    """
    schedule = {"task": task, "schedule": seconds, "options": {"expires": 300}}
    app.conf.beat_schedule = {"wake-up": schedule}


def notify_workers(task: Any) -> None:
    """Send a wake-up message, which is lost while the broker is down."""
    if not _publishing.acquire(blocking=False):
        return  # another thread is publishing: with a broker that hangs, one waiting is enough
    try:
        task.delay()
    except OperationalError as error:
        logger.warning("cannot wake up workers; the scheduler will soon: %s", error)
    finally:
        _publishing.release()


def notify_workers_after_commit(task: Any) -> Any:
    """Make a dependency; background tasks run once the request's transaction is committed."""

    async def notify_later(background: BackgroundTasks) -> None:
        background.add_task(notify_workers, task)

    return Depends(notify_later)


@signals.worker_ready.connect
def freeze_worker_objects(**_: Any) -> None:
    gc_tuning.freeze_startup_objects()


@signals.beat_init.connect
def announce_schedule(sender: Any, **_: Any) -> None:
    """Log that the scheduler has started: it logs nothing else while all is well."""
    for entry in sender.app.conf.beat_schedule.values():
        logger.info("scheduler started: wakes %s every %s s", entry["task"], entry["schedule"])


@signals.before_task_publish.connect
def send_trace_id(headers: dict[str, Any], **_: Any) -> None:
    if identifier := get_trace_id():
        headers[TRACE_HEADER] = identifier


@signals.task_prerun.connect
def enter_trace(task_id: str, task: Any, **_: Any) -> None:
    _trace_contexts[task_id] = trace_context((task.request.headers or {}).get(TRACE_HEADER))
    _trace_contexts[task_id].__enter__()


@signals.task_postrun.connect
def leave_trace(task_id: str, **_: Any) -> None:
    if work := _trace_contexts.pop(task_id, None):
        work.__exit__(None, None, None)


@signals.heartbeat_sent.connect
@signals.after_task_publish.connect
def touch_heartbeat(**_: Any) -> None:
    """Update the file that health checks look at: workers do every two seconds."""
    if file := os.environ.get("HEARTBEAT_FILE"):
        Path(file).touch()
