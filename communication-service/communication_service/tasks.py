"""The Celery app: `celery -A communication_service.tasks worker` and `... beat`.

Its one message says no more than "something may be due". Lost, late or doubled, it does no harm:
the scheduler sends it every second, and what is due is in the database.
"""

from functools import cache

from chassis.auth import ServiceAccount
from chassis.celery import create_celery, hint, hint_after_commit, sweep
from chassis.service_client import ServiceClient

from .channels import PROVIDERS
from .delivery import deliver_batch
from .settings import settings

celery = create_celery(settings, settings.celery_broker_url)
sweep(celery, "communication.deliver_due", settings.sweep_seconds)


@cache
def identity() -> ServiceClient:
    url, name = settings.identity_service_url, settings.service_name
    return ServiceClient(url, name, target="identity-service", account=ServiceAccount(settings))


@celery.task(name="communication.deliver_due")
def deliver_due() -> None:
    """A batch of each channel; a full one may not have been all, so another hint follows."""
    sizes = [deliver_batch(channel, settings, identity()) for channel in PROVIDERS]
    if max(sizes) == settings.delivery_batch:
        hint(deliver_due)


Hint = hint_after_commit(deliver_due)
