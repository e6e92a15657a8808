"""Whether an attempt that failed is repeated, and when."""

from datetime import datetime, timedelta

from chassis import job_queue
from chassis.clock import now
from chassis.errors import Conflict, ServiceError, TooManyRequests, Unavailable
from chassis.service_client import get_requested_delay

from ..definition.model import StepDefinition, StepRetryPolicy
from ..models import Step
from ..neighbours import PLATFORM_SERVICES
from .events import StepFailed
from .statuses import PENDING
from .transaction import RunTransaction

MAX_OUTAGE = timedelta(days=1)  # a neighbour remembers an idempotency key that long
MAX_REASON_CHARACTERS = 2000


def retry_or_fail(tx: RunTransaction, step: Step, error: ServiceError) -> None:
    """Make the step due again later, or report that it has failed for good."""
    reason = describe_error(error)
    if not is_retryable(error, step):
        tx.put(StepFailed(step, reason))
        return
    definition = tx.get_step_definition(step)
    retry = definition.retry_policy
    delay = max(get_requested_delay(error), get_retry_delay(step.attempts, retry))
    at = now() + timedelta(seconds=delay)
    is_too_old = retry.max_age and at > step.created_at + timedelta(seconds=retry.max_age)
    if should_outwait_outage(step, definition, error, at):
        step.attempts = min(step.attempts, retry.attempts - 1)  # the next is not one too many
    elif step.attempts >= retry.attempts or is_too_old:
        tx.put(StepFailed(step, f"{reason}; given up after {step.attempts} attempts"))
        return
    step.last_error = reason
    tx.reschedule_step(step, "step.retrying", at, PENDING)


def should_outwait_outage(
    step: Step, definition: StepDefinition, error: ServiceError, at: datetime
) -> bool:
    """Tell whether to wait for a service of this platform, where the definition has no `retry`."""
    is_outage = isinstance(error, Unavailable) and error.target in PLATFORM_SERVICES
    is_check = bool(step.memory)  # of something, from time to time: it waits without a limit
    return (
        is_outage and definition.retry is None and (is_check or at < step.created_at + MAX_OUTAGE)
    )


def get_retry_delay(attempts: int, retry: StepRetryPolicy) -> float:
    """Return the seconds before the next attempt."""
    if retry.growth == "fixed":
        return retry.pause
    policy = job_queue.RetryPolicy(first_delay=retry.pause, max_delay=retry.longest_pause)
    return policy.get_delay(attempts)


def is_retryable(error: ServiceError, step: Step) -> bool:
    # A conflict may be an earlier attempt of the same step that the neighbour still works on.
    may_be_own_conflict = isinstance(error, Conflict) and step.attempts <= 3
    is_passing = error.status_code >= 500 or isinstance(error, TooManyRequests)
    return is_passing or may_be_own_conflict


def describe_error(error: ServiceError) -> str:
    """Return the message with the name of the neighbour, as a text that PostgreSQL can store."""
    reason = f"{error.target}: {error.message}" if error.target else error.message
    storable = reason.encode(errors="replace").decode().replace("\x00", "")
    return storable[:MAX_REASON_CHARACTERS]
