"""Pauses webhook endpoints that keep failing, and probes them until they work again.

An endpoint is `enabled` until it has failed many times over some time. Then it is `paused`, its
owner is notified, and its deliveries wait. One delivery per probe interval is still sent; when it
arrives, the others follow. An endpoint that answers 410 is `disabled` until its owner enables it.
"""

import random
from collections import defaultdict
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from chassis.clock import now
from chassis.job_queue import DEAD, PENDING

from ..models import DISABLED, ENABLED, PAUSED, SUPPRESSED, Delivery, WebhookEndpoint
from ..notifications.service import notify_user
from ..settings import Settings
from ..webhook_endpoints import select_pending_deliveries
from .attempts import DeliveryResult
from .channels.webhook import EndpointGone
from .queue import JobResult, finish_jobs

PAUSED_REASON = "The endpoint is paused because it keeps failing"


def load_endpoints(session: Session, deliveries: list[Delivery]) -> None:
    """Loads the endpoints of a batch; a deleted one becomes None."""
    ids = {delivery.endpoint_id for delivery in deliveries if delivery.endpoint_id}
    query = select(WebhookEndpoint).where(WebhookEndpoint.id.in_(ids))
    found = {endpoint.id: endpoint for endpoint in session.scalars(query)} if ids else {}
    for delivery in deliveries:
        endpoint = found.get(delivery.endpoint_id) if delivery.endpoint_id else None
        set_committed_value(delivery, "endpoint", endpoint)


def postpone_paused(session: Session, claimed: list[Delivery], settings: Settings) -> set[UUID]:
    """Finishes the claims on deliveries whose endpoint takes none now; returns their ids."""
    probes = choose_probes(session, claimed, settings)
    others = [delivery for delivery in claimed if delivery not in probes]
    results = [result for each in others if (result := build_postponement(each, settings))]
    finish_jobs(session, results)
    return {result.row.id for result in results}


def choose_probes(session: Session, claimed: list[Delivery], settings: Settings) -> list[Delivery]:
    """Returns the first delivery to each paused endpoint whose next probe is due."""
    first = {
        delivery.endpoint.id: delivery
        for delivery in reversed(claimed)
        if delivery.endpoint and delivery.endpoint.status == PAUSED
    }
    # Sorted, because claim_probe locks rows: two workers in different orders could deadlock.
    return [first[each] for each in sorted(first) if claim_probe(session, each, settings)]


def build_postponement(delivery: Delivery, settings: Settings) -> JobResult | None:
    """Returns None when the endpoint takes deliveries."""
    endpoint = delivery.endpoint
    if endpoint is None or endpoint.status == ENABLED:
        return None
    if endpoint.status == DISABLED:
        return JobResult(delivery, SUPPRESSED, f"The endpoint is disabled: {endpoint.reason}")
    if delivery.get_age_seconds(settings.lease) > settings.delivery_max_age_seconds:
        return JobResult(delivery, DEAD, PAUSED_REASON)
    delay = get_probe_delay(endpoint, delivery, settings)
    return JobResult(delivery, PENDING, PAUSED_REASON, delay=delay, counts=False)


def get_probe_delay(endpoint: WebhookEndpoint, delivery: Delivery, settings: Settings) -> float:
    """Returns the seconds until the next probe, plus jitter so that not all retry together."""
    interval = settings.webhook_probe_seconds
    delay = 0.0
    if endpoint.probe_at:
        delay = (endpoint.probe_at - delivery.get_claim_time(settings.lease)).total_seconds()
    return (delay if delay > 0 else interval) + random.uniform(0, interval / 4)


def claim_probe(session: Session, endpoint_id: UUID, settings: Settings) -> bool:
    """Returns True for one worker per probe interval."""
    interval = timedelta(seconds=settings.webhook_probe_seconds)
    is_paused = (WebhookEndpoint.id == endpoint_id) & (WebhookEndpoint.status == PAUSED)
    is_due = WebhookEndpoint.probe_at <= func.now()
    probe = update(WebhookEndpoint).where(is_paused, is_due).values(probe_at=func.now() + interval)
    returning = probe.returning(WebhookEndpoint.id)
    return session.scalar(returning.execution_options(synchronize_session=False)) is not None


def record_health(session: Session, results: list[DeliveryResult], settings: Settings) -> None:
    """Updates each endpoint of a batch; one success outweighs any number of failures."""
    errors_by_endpoint: defaultdict[UUID, list[Exception | None]] = defaultdict(list)
    for result in results:
        if result.delivery.endpoint_id:
            errors_by_endpoint[result.delivery.endpoint_id].append(result.error)
    for endpoint_id, errors in sorted(errors_by_endpoint.items()):
        locked = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).with_for_update()
        endpoint = session.scalar(locked.execution_options(populate_existing=True))
        if endpoint is None:
            continue
        if not all(errors):
            resume_endpoint(session, endpoint)
        elif any(isinstance(error, EndpointGone) for error in errors):
            disable_endpoint(session, endpoint)
        else:
            add_failures(session, endpoint, len(errors), settings)


def resume_endpoint(session: Session, endpoint: WebhookEndpoint) -> None:
    """Resets the failures; deliveries that waited for the endpoint become due."""
    endpoint.reset_health()
    if endpoint.status == PAUSED:
        endpoint.status = ENABLED
        endpoint.reason = None
        pending = select_pending_deliveries(endpoint.id)
        waiting = pending.where(Delivery.last_error == PAUSED_REASON)
        session.execute(update(Delivery).where(Delivery.id.in_(waiting)).values(run_at=func.now()))


def disable_endpoint(session: Session, endpoint: WebhookEndpoint) -> None:
    if endpoint.status != DISABLED:
        endpoint.status = DISABLED
        endpoint.reason = "It answered 410 Gone"
        text = f"{endpoint.url} answered 410 Gone. Nothing is sent there until you enable it again."
        notify_user(session, endpoint.owner_id, "Your webhook endpoint is disabled", text)


def add_failures(session: Session, endpoint: WebhookEndpoint, new: int, settings: Settings) -> None:
    """Counts failures and pauses the endpoint when they go on for long enough."""
    endpoint.failures += new
    endpoint.failing_since = endpoint.failing_since or now()
    seconds = (now() - endpoint.failing_since).total_seconds()
    has_failed_often = endpoint.failures >= settings.webhook_pause_after_failures
    has_failed_long = seconds >= settings.webhook_pause_after_seconds
    if endpoint.status == ENABLED and has_failed_often and has_failed_long:
        endpoint.status = PAUSED
        failed = f"has failed {endpoint.failures} times in a row"
        endpoint.reason = f"It {failed}"
        endpoint.probe_at = func.now() + timedelta(seconds=settings.webhook_probe_seconds)
        text = f"{endpoint.url} {failed} and is paused. Its notifications wait until it works."
        notify_user(session, endpoint.owner_id, "Your webhook endpoint keeps failing", text)
