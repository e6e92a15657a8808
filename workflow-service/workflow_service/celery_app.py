"""The Celery app: `celery -A workflow_service.celery_app worker` and `... beat`.

Its only message says that something may be due. A message that is lost, late or doubled does no
harm: the scheduler sends one every second, and what is due stands in the database.
"""

from datetime import timedelta
from functools import cache
from threading import Lock
from typing import Any

from celery import signals

from chassis.celery_app import (
    create_celery,
    notify_workers,
    notify_workers_after_commit,
    schedule_task,
)
from chassis.remote_auth import ServiceAccount

from .database import session_maker
from .engine.worker import Worker
from .neighbours import create_neighbours
from .settings import settings

celery = create_celery(settings, settings.celery_broker_url)
schedule_task(celery, "workflow.work", seconds=1)

_building = Lock()


def get_worker() -> Worker:
    """Return the worker of this process, also when threads ask for it at the same time."""
    with _building:
        return build_worker()


@cache
def build_worker() -> Worker:
    return Worker(
        session_maker,
        create_neighbours(settings, ServiceAccount(settings)),
        lease=timedelta(seconds=settings.step_lease_seconds),
        timeout=settings.step_timeout_seconds,
        concurrency=settings.max_concurrent_steps,
        on_saturated=lambda: notify_workers(work),
    )


@celery.task(name="workflow.work")
def work() -> None:
    get_worker().work()


@signals.worker_shutting_down.connect
def stop(**_: Any) -> None:
    """Let the steps under way end, and claim no more."""
    get_worker().stopping = True


WakeWorkers = notify_workers_after_commit(work)
