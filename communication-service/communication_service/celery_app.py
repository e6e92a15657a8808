"""The Celery app: `celery -A communication_service.celery_app worker` and `... beat`.

Its only task is a wake-up message: "something may be due". The queue itself is in the database, so
a message that is lost, late or repeated does no harm; the scheduler sends one every second.
"""

import sys
from collections.abc import Sequence
from functools import cache
from threading import BoundedSemaphore
from time import monotonic
from typing import Any

from celery import signals

from chassis.celery_app import create_celery, notify_workers, schedule_task
from chassis.remote_auth import ServiceAccount
from chassis.service_client import ServiceClient
from chassis.untrusted_http import UntrustedHttpClient

from .delivery.worker import URGENT_ONLY, DeliveryWorker
from .models import PRIORITIES
from .settings import settings

celery = create_celery(settings, settings.celery_broker_url)
schedule_task(celery, "communication.deliver_due", settings.schedule_seconds)

MAX_TASK_SECONDS = 5.0  # a worker waits for its tasks when it is stopped
# Held while working on the backlog. This leaves one of a worker's four threads for urgent ones.
BACKLOG_SLOTS = BoundedSemaphore(3)


@signals.worker_ready.connect
def shorten_switch_interval(**_: Any) -> None:
    """Lets threads alternate often: urgent deliveries must not wait for a batch's preparation."""
    sys.setswitchinterval(0.0005)


@cache
def get_worker() -> DeliveryWorker:
    """Creates the clients on first use, once per process."""
    account = ServiceAccount(settings)
    url = settings.identity_service_url
    identity = ServiceClient(url, settings.service_name, target="identity-service", account=account)
    timeout = settings.webhook_timeout_seconds
    http_client = UntrustedHttpClient(settings.webhook_allow_hosts, timeout=timeout)
    return DeliveryWorker(settings, identity, http_client)


@celery.task(name="communication.deliver_due")
def deliver_due() -> None:
    """Delivers what is due; only urgent deliveries while other threads work on the backlog."""
    if BACKLOG_SLOTS.acquire(blocking=False):
        try:
            deliver_batches(PRIORITIES)
        finally:
            BACKLOG_SLOTS.release()
    else:
        deliver_batches(URGENT_ONLY)


def deliver_batches(priorities: Sequence[int]) -> None:
    """Delivers batch after batch; wakes up other threads as long as there is more."""
    deadline = monotonic() + MAX_TASK_SECONDS
    while get_worker().deliver_due(priorities):
        notify_workers(deliver_due)
        if monotonic() > deadline:
            return
