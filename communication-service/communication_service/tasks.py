"""The Celery app: `celery -A communication_service.tasks worker` and `... beat`.

Its one message says no more than "something may be due". Lost, late or doubled, it does no harm:
the scheduler sends it every second, and what is due is in the database.
"""

import logging
from functools import cache
from threading import Lock

from fastapi import BackgroundTasks
from kombu.exceptions import OperationalError

from chassis.auth import ServiceAccount
from chassis.celery import create_celery
from chassis.service_client import ServiceClient

from .channels import PROVIDERS
from .delivery import deliver_batch
from .settings import settings

logger = logging.getLogger(__name__)
hinting = Lock()

celery = create_celery(settings, settings.celery_broker_url)
celery.conf.beat_schedule = {
    "sweep": {
        "task": "communication.deliver_due",
        "schedule": settings.sweep_seconds,
        # With no worker there, sweeps must not pile up.
        "options": {"expires": 5 * settings.sweep_seconds},
    }
}


@cache
def identity() -> ServiceClient:
    url, name = settings.identity_service_url, settings.service_name
    return ServiceClient(url, name, target="identity-service", account=ServiceAccount(settings))


@celery.task(name="communication.deliver_due")
def deliver_due() -> None:
    """A batch of each channel; a full one may not have been all, so another hint follows."""
    sizes = [deliver_batch(channel, settings, identity()) for channel in PROVIDERS]
    if max(sizes) == settings.delivery_batch:
        hint()


def hint() -> None:
    """Tells the workers that something is due."""
    # One at a time: with a broker that hangs, only one thread waits for it.
    if not hinting.acquire(blocking=False):
        return
    try:
        deliver_due.delay()
    except OperationalError as error:
        logger.warning("no hint for the workers, the next sweep will do: %s", error)
    finally:
        hinting.release()


def hint_after_commit(background: BackgroundTasks) -> None:
    """A dependency: background tasks run once the request's transaction is committed."""
    background.add_task(hint)
