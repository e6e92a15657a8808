"""The Celery app: `celery -A workflow_service.tasks worker`, and `beat` for the sweep.

A message says nothing but that there may be work; what work, the queue of record knows. So it
does no harm when one is lost or comes twice, and a sweep a second finds what no message told of.
"""

import logging
from datetime import timedelta
from functools import cache

from kombu.exceptions import OperationalError

from chassis.auth import ServiceAccount
from chassis.celery import create_celery

from .database import session_maker
from .engine import worker
from .neighbours import Neighbours, open_neighbours
from .settings import settings

logger = logging.getLogger(__name__)

celery = create_celery(settings, settings.celery_broker_url)
celery.conf.beat_schedule = {
    "sweep": {"task": "workflow.work", "schedule": 1.0, "options": {"expires": 1}}
}


@cache
def neighbours() -> Neighbours:
    return open_neighbours(settings, ServiceAccount(settings))


@celery.task(name="workflow.work")
def work() -> None:
    lease = timedelta(seconds=settings.step_lease_seconds)
    if worker.work(session_maker, neighbours(), lease):
        hint()


def hint() -> None:
    """Tells the workers that there may be work, now that it is committed."""
    try:
        work.delay()
    except OperationalError as error:
        logger.warning("no broker to tell the workers, the sweep will: %s", error)
