"""Decides what happens to a delivery after an attempt: delivered, retried later, or dead."""

import random

from chassis.errors import ServiceError
from chassis.job_queue import DEAD, PENDING
from chassis.service_client import get_requested_delay

from ..models import DELIVERED, Delivery
from ..settings import Settings
from .attempts import DeliveryResult
from .channels.protocol import TemporaryFailure, Undeliverable
from .queue import JobResult

MAX_IDENTITY_RETRY_SECONDS = 30.0


def build_job_result(result: DeliveryResult, settings: Settings) -> JobResult:
    """Retries a temporary failure until the delivery is too old or has no attempts left."""
    delivery = result.delivery
    error = result.error
    if error is None:
        return JobResult(delivery, DELIVERED)
    if isinstance(error, ServiceError):
        return retry_uncounted(result, error, settings)
    is_too_old = delivery.get_age_seconds(settings.lease) > settings.delivery_max_age_seconds
    is_exhausted = delivery.attempts >= settings.delivery_max_attempts
    if isinstance(error, Undeliverable) or is_too_old or is_exhausted:
        return JobResult(delivery, DEAD, result.reason)
    backoff = settings.retry_policy.get_delay(delivery.attempts)
    requested = error.after if isinstance(error, TemporaryFailure) else 0
    return JobResult(delivery, PENDING, result.reason, delay=max(backoff, requested))


def retry_uncounted(result: DeliveryResult, error: ServiceError, settings: Settings) -> JobResult:
    """Retries without counting an attempt when identity is down; the delay grows with the age."""
    age = result.delivery.get_age_seconds(settings.lease)
    longest = min(MAX_IDENTITY_RETRY_SECONDS, max(settings.delivery_first_delay_seconds, age))
    delay = max(random.uniform(longest / 2, longest), get_requested_delay(error))
    return JobResult(result.delivery, PENDING, result.reason, delay=delay, counts=False)


def requeue_untried(delivery: Delivery, settings: Settings) -> JobResult:
    """Makes it due again; a webhook waits a little, so that a slow endpoint lets others pass."""
    pause = random.uniform(1, 3) * settings.delivery_batch_seconds
    delay = pause if delivery.endpoint_id else None
    return JobResult(delivery, PENDING, counts=False, delay=delay)
