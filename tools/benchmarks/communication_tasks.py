"""A Celery app configured as the communication service's, with one task that does nothing."""

from chassis.celery_app import create_celery
from communication_service.settings import settings

celery = create_celery(settings, settings.celery_broker_url)
celery.conf.task_default_queue = "communication:queue:nothing"


@celery.task(name="benchmarks.nothing")
def do_nothing() -> None:
    """Do nothing, so that only Celery's own cost is measured."""
