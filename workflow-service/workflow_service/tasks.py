"""The Celery app: `celery -A workflow_service.tasks worker` and `... beat`.

Its one message says no more than "something may be due". Lost, late or doubled, it does no harm:
the scheduler sends it every second, and what is due is in the database.
"""

from datetime import timedelta
from functools import cache

from chassis.auth import ServiceAccount
from chassis.celery import create_celery, hint, hint_after_commit, sweep

from .database import session_maker
from .engine import worker
from .neighbours import Neighbours, open_neighbours
from .settings import settings

celery = create_celery(settings, settings.celery_broker_url)
sweep(celery, "workflow.work", seconds=1)


@cache
def neighbours() -> Neighbours:
    return open_neighbours(settings, ServiceAccount(settings))


@celery.task(name="workflow.work")
def work() -> None:
    lease = timedelta(seconds=settings.step_lease_seconds)
    if worker.work(session_maker, neighbours(), lease):
        hint(work)


Hint = hint_after_commit(work)
