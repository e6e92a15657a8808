"""The health of webhook endpoints: one that keeps failing is left alone, but for a probe at times.

An endpoint is `enabled` until it has failed so often and for so long; then it is `paused`, its
owner is told, and its deliveries wait. Once in a while one of them is sent as a probe: should it
arrive, all others follow. An endpoint that answers 410 is `disabled`, until its owner enables it.
"""

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from chassis.job_queue import DEAD, PENDING, JobResult

from ..models import DISABLED, ENABLED, PAUSED, SUPPRESSED, Delivery, WebhookEndpoint, now
from ..notifications.service import notify_user
from ..settings import Settings
from ..webhook_endpoints import select_pending_deliveries
from .attempts import DeliveryResult
from .channels.webhook import EndpointGone

PAUSED_REASON = "The endpoint keeps failing, and is left alone for a while"


def load_endpoints(session: Session, deliveries: Sequence[Delivery]) -> None:
    ids = {delivery.endpoint_id for delivery in deliveries if delivery.endpoint_id}
    kept = (
        session.scalars(select(WebhookEndpoint).where(WebhookEndpoint.id.in_(ids))) if ids else ()
    )
    found = {endpoint.id: endpoint for endpoint in kept}
    for delivery in deliveries:
        endpoint = found.get(delivery.endpoint_id) if delivery.endpoint_id else None
        set_committed_value(delivery, "endpoint", endpoint)


def postpone_paused(
    session: Session, deliveries: Sequence[Delivery], settings: Settings
) -> list[JobResult]:
    """The verdicts on those that are not to be sent now."""
    probes = choose_probes(session, deliveries, settings)
    verdicts = [postpone_one(one, settings) for one in deliveries if one not in probes]
    return [verdict for verdict in verdicts if verdict]


def choose_probes(
    session: Session, deliveries: Sequence[Delivery], settings: Settings
) -> list[Delivery]:
    """The first delivery to each paused endpoint for which it is time."""
    first = {
        delivery.endpoint.id: delivery
        for delivery in reversed(deliveries)
        if delivery.endpoint and delivery.endpoint.status == PAUSED
    }
    in_order = sorted(first)  # of their locks
    return [first[each] for each in in_order if claim_probe(session, each, settings)]


def postpone_one(delivery: Delivery, settings: Settings) -> JobResult | None:
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
    """Seconds to the next one, and some more: not all that wait are to be looked at together."""
    pause, moment = settings.webhook_probe_seconds, delivery.get_claim_time(settings.lease)
    left = (endpoint.probe_at - moment).total_seconds() if endpoint.probe_at else 0
    return (left if left > 0 else pause) + random.uniform(0, pause / 4)


def claim_probe(session: Session, endpoint_id: UUID, settings: Settings) -> bool:
    """Of all workers, one at a time gets a yes."""
    pause = timedelta(seconds=settings.webhook_probe_seconds)
    due = (
        WebhookEndpoint.id == endpoint_id,
        WebhookEndpoint.status == PAUSED,
        WebhookEndpoint.probe_at <= func.now(),
    )
    probing = update(WebhookEndpoint).where(*due).values(probe_at=func.now() + pause)
    options = {"synchronize_session": False}
    return (
        session.scalar(probing.returning(WebhookEndpoint.id), execution_options=options) is not None
    )


def record_endpoint_health(
    session: Session, results: Sequence[DeliveryResult], settings: Settings
) -> None:
    """One that arrived says more than those that did not."""

    def get_endpoint_id(sent: DeliveryResult) -> str:
        return str(sent.delivery.endpoint_id)

    webhooks = sorted((sent for sent in results if sent.delivery.endpoint_id), key=get_endpoint_id)
    for endpoint_id, group in groupby(webhooks, get_endpoint_id):
        errors = [sent.error for sent in group]
        locked = (
            select(WebhookEndpoint).where(WebhookEndpoint.id == UUID(endpoint_id)).with_for_update()
        )
        endpoint = session.scalar(locked.execution_options(populate_existing=True))
        if endpoint is None:
            continue
        if not all(errors):
            resume_endpoint(session, endpoint)
        elif any(isinstance(error, EndpointGone) for error in errors):
            disable_endpoint(session, endpoint)
        else:
            record_failures(session, endpoint, len(errors), settings)


def resume_endpoint(session: Session, endpoint: WebhookEndpoint) -> None:
    endpoint.failures, endpoint.failing_since = 0, None
    if endpoint.status == PAUSED:
        endpoint.status, endpoint.reason, endpoint.probe_at = ENABLED, None, None
        held = select_pending_deliveries(endpoint.id).where(Delivery.last_error == PAUSED_REASON)
        session.execute(update(Delivery).where(Delivery.id.in_(held)).values(run_at=func.now()))


def disable_endpoint(session: Session, endpoint: WebhookEndpoint) -> None:
    if endpoint.status != DISABLED:
        endpoint.status, endpoint.reason = DISABLED, "It answered 410 Gone"
        notify_user(
            session,
            endpoint.owner_id,
            "A webhook endpoint of yours is disabled",
            f"{endpoint.url} answered 410 Gone. Nothing is sent there until you enable it again.",
        )


def record_failures(
    session: Session, endpoint: WebhookEndpoint, times: int, settings: Settings
) -> None:
    endpoint.failures += times
    endpoint.failing_since = endpoint.failing_since or now()
    seconds = (now() - endpoint.failing_since).total_seconds()
    is_sustained = (
        endpoint.failures >= settings.webhook_pause_after_failures
        and seconds >= settings.webhook_pause_after_seconds
    )
    if endpoint.status == ENABLED and is_sustained:
        endpoint.status, endpoint.reason = PAUSED, f"It has failed {endpoint.failures} times"
        endpoint.probe_at = func.now() + timedelta(seconds=settings.webhook_probe_seconds)
        notify_user(
            session,
            endpoint.owner_id,
            "A webhook endpoint of yours keeps failing",
            f"{endpoint.url} has failed {endpoint.failures} times in a row. What is meant for it"
            " waits, and is sent once it answers again.",
        )
