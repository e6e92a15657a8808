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

from ..models import DISABLED, ENABLED, PAUSED, SUPPRESSED, Delivery, Endpoint, now
from ..notifications.service import tell
from ..settings import Settings
from ..webhook_endpoints import waiting_for
from .attempts import Sent
from .channels.webhook import EndpointGone

WAITING = "The endpoint keeps failing, and is left alone for a while"


def load_endpoints(session: Session, taken: Sequence[Delivery]) -> None:
    ids = {delivery.endpoint_id for delivery in taken if delivery.endpoint_id}
    kept = session.scalars(select(Endpoint).where(Endpoint.id.in_(ids))) if ids else ()
    found = {endpoint.id: endpoint for endpoint in kept}
    for delivery in taken:
        endpoint = found.get(delivery.endpoint_id) if delivery.endpoint_id else None
        set_committed_value(delivery, "endpoint", endpoint)


def hold_back(session: Session, taken: Sequence[Delivery], settings: Settings) -> list[JobResult]:
    """The verdicts on those that are not to be sent now."""
    probes = probes_of(session, taken, settings)
    verdicts = [hold_back_one(one, settings) for one in taken if one not in probes]
    return [verdict for verdict in verdicts if verdict]


def probes_of(session: Session, taken: Sequence[Delivery], settings: Settings) -> list[Delivery]:
    """The first delivery to each paused endpoint for which it is time."""
    first = {
        delivery.endpoint.id: delivery
        for delivery in reversed(taken)
        if delivery.endpoint and delivery.endpoint.status == PAUSED
    }
    in_order = sorted(first)  # of their locks
    return [first[each] for each in in_order if is_probe(session, each, settings)]


def hold_back_one(delivery: Delivery, settings: Settings) -> JobResult | None:
    endpoint = delivery.endpoint
    if endpoint is None or endpoint.status == ENABLED:
        return None
    if endpoint.status == DISABLED:
        return JobResult(delivery, SUPPRESSED, f"The endpoint is disabled: {endpoint.reason}")
    if delivery.age(settings.lease) > settings.delivery_max_age_seconds:
        return JobResult(delivery, DEAD, WAITING)
    delay = until_probe(endpoint, delivery, settings)
    return JobResult(delivery, PENDING, WAITING, delay=delay, counts=False)


def until_probe(endpoint: Endpoint, delivery: Delivery, settings: Settings) -> float:
    """Seconds to the next one, and some more: not all that wait are to be looked at together."""
    pause, moment = settings.webhook_probe_seconds, delivery.claimed_at(settings.lease)
    left = (endpoint.probe_at - moment).total_seconds() if endpoint.probe_at else 0
    return (left if left > 0 else pause) + random.uniform(0, pause / 4)


def is_probe(session: Session, endpoint_id: UUID, settings: Settings) -> bool:
    """Of all workers, one at a time gets a yes."""
    pause = timedelta(seconds=settings.webhook_probe_seconds)
    due = Endpoint.id == endpoint_id, Endpoint.status == PAUSED, Endpoint.probe_at <= func.now()
    probing = update(Endpoint).where(*due).values(probe_at=func.now() + pause)
    options = {"synchronize_session": False}
    return session.scalar(probing.returning(Endpoint.id), execution_options=options) is not None


def note(session: Session, done: Sequence[Sent], settings: Settings) -> None:
    """One that arrived says more than those that did not."""

    def endpoint_of(sent: Sent) -> str:
        return str(sent.delivery.endpoint_id)

    webhooks = sorted((sent for sent in done if sent.delivery.endpoint_id), key=endpoint_of)
    for endpoint_id, group in groupby(webhooks, endpoint_of):
        errors = [sent.error for sent in group]
        locked = select(Endpoint).where(Endpoint.id == UUID(endpoint_id)).with_for_update()
        endpoint = session.scalar(locked.execution_options(populate_existing=True))
        if endpoint is None:
            continue
        if not all(errors):
            recover(session, endpoint)
        elif any(isinstance(error, EndpointGone) for error in errors):
            disable(session, endpoint)
        else:
            fail(session, endpoint, len(errors), settings)


def recover(session: Session, endpoint: Endpoint) -> None:
    endpoint.failures, endpoint.failing_since = 0, None
    if endpoint.status == PAUSED:
        endpoint.status, endpoint.reason, endpoint.probe_at = ENABLED, None, None
        held = waiting_for(endpoint.id).where(Delivery.last_error == WAITING)
        session.execute(update(Delivery).where(Delivery.id.in_(held)).values(run_at=func.now()))


def disable(session: Session, endpoint: Endpoint) -> None:
    if endpoint.status != DISABLED:
        endpoint.status, endpoint.reason = DISABLED, "It answered 410 Gone"
        tell(
            session,
            endpoint.owner_id,
            "A webhook endpoint of yours is disabled",
            f"{endpoint.url} answered 410 Gone. Nothing is sent there until you enable it again.",
        )


def fail(session: Session, endpoint: Endpoint, times: int, settings: Settings) -> None:
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
        tell(
            session,
            endpoint.owner_id,
            "A webhook endpoint of yours keeps failing",
            f"{endpoint.url} has failed {endpoint.failures} times in a row. What is meant for it"
            " waits, and is sent once it answers again.",
        )
