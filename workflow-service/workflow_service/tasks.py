"""The Celery app: `celery -A workflow_service.tasks worker` and `... beat`.

Its one message says no more than "something may be due". Lost, late or doubled, it does no harm:
the scheduler sends it every second, and what is due is in the database.
"""

import logging
from datetime import timedelta
from functools import cache
from threading import Lock

from fastapi import BackgroundTasks
from kombu.exceptions import OperationalError

from chassis.auth import ServiceAccount
from chassis.celery import create_celery

from .database import session_maker
from .engine import worker
from .neighbours import Neighbours, open_neighbours
from .settings import settings

logger = logging.getLogger(__name__)
hinting = Lock()

celery = create_celery(settings, settings.celery_broker_url)
# With no worker there, sweeps must not pile up.
sweep = {"task": "workflow.work", "schedule": 1.0, "options": {"expires": 5}}
celery.conf.beat_schedule = {"sweep": sweep}


@cache
def neighbours() -> Neighbours:
    return open_neighbours(settings, ServiceAccount(settings))


@celery.task(name="workflow.work")
def work() -> None:
    lease = timedelta(seconds=settings.step_lease_seconds)
    if worker.work(session_maker, neighbours(), lease):
        hint()


def hint() -> None:
    """Tells the workers that there may be work."""
    # One at a time: with a broker that hangs, only one thread waits for it.
    if not hinting.acquire(blocking=False):
        return
    try:
        work.delay()
    except OperationalError as error:
        logger.warning("no hint for the workers, the next sweep will do: %s", error)
    finally:
        hinting.release()


def hint_after_commit(background: BackgroundTasks) -> None:
    """A dependency: background tasks run once the request's transaction is committed."""
    background.add_task(hint)
