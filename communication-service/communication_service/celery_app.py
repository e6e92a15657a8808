"""The Celery app: `celery -A communication_service.celery_app worker` and `... beat`.

Its one message says no more than "something may be due". Lost, late or doubled, it does no harm:
the scheduler sends it every second, and what is due is in the database.
"""

import sys
from collections.abc import Sequence
from functools import cache
from threading import BoundedSemaphore
from time import monotonic
from typing import Any

from celery import signals

from chassis.auth import ServiceAccount
from chassis.celery_app import (
    create_celery,
    notify_workers,
    notify_workers_after_commit,
    schedule_task,
)
from chassis.service_client import ServiceClient
from chassis.untrusted_http import UntrustedHttpClient

from .delivery import worker
from .models import PRIORITIES
from .settings import settings

celery = create_celery(settings, settings.celery_broker_url)
schedule_task(celery, "communication.deliver_due", settings.schedule_seconds)

MAX_TASK_SECONDS = 5.0  # seconds; a worker that is told to stop waits for its tasks
BACKLOG_SLOTS = BoundedSemaphore(3)
"""Held while working on anything. Of a worker's four threads one is left for what is urgent."""


@signals.worker_ready.connect
def shorten_switch_interval(**_: Any) -> None:
    """While others prepare a batch, who has something urgent waits for Python at each step."""
    sys.setswitchinterval(0.0005)


@cache
def get_identity_client() -> ServiceClient:
    url, name = settings.identity_service_url, settings.service_name
    return ServiceClient(url, name, target="identity-service", account=ServiceAccount(settings))


@cache
def get_http_client() -> UntrustedHttpClient:
    return UntrustedHttpClient(
        settings.webhook_allow_hosts, timeout=settings.webhook_timeout_seconds
    )


@celery.task(name="communication.deliver_due")
def deliver_due() -> None:
    if BACKLOG_SLOTS.acquire(blocking=False):
        try:
            deliver_batches(PRIORITIES)
        finally:
            BACKLOG_SLOTS.release()
    else:
        deliver_batches(worker.URGENT_ONLY)


def deliver_batches(priorities: Sequence[int]) -> None:
    """Batch after batch; while there is more, other threads are called to help."""
    until = monotonic() + MAX_TASK_SECONDS
    while worker.deliver_due(settings, get_identity_client(), get_http_client(), priorities):
        notify_workers(deliver_due)
        if monotonic() > until:
            return


NotifyWorkers = notify_workers_after_commit(deliver_due)
