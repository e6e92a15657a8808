"""Claims due deliveries for a worker and starts an attempt for each delivery to send now."""

from collections.abc import Sequence

from sqlalchemy import select, text
from sqlalchemy.orm import Session, lazyload
from sqlalchemy.orm.attributes import set_committed_value

from chassis.job_queue import claim_jobs, is_waiting, lease_expired, mark_exhausted_dead

from ..models import Delivery, Notification
from ..redaction import redact_secrets
from ..settings import Settings
from .attempts import mark_attempts_lost, open_attempts
from .channels import PROVIDERS
from .circuit_breaker import load_endpoints, postpone_paused
from .eligibility import find_eligible

CRASHED_REASON = "The worker crashed or froze at each attempt"

# min() reads one index entry; EXISTS may scan the whole table when nothing is due.
DUE_CHANNELS = text("""
    SELECT DISTINCT channel, coalesce(lease_ends < now(), false)
    FROM unnest(CAST(:channels AS text[])) channel, unnest(CAST(:priorities AS int[])) priority,
    LATERAL (
        SELECT min(lease_until) lease_ends FROM communication_deliveries
        WHERE communication_deliveries.channel = channel.channel AND status = 'running'
    ) running,
    LATERAL (
        SELECT min(run_at) due_at FROM communication_deliveries
        WHERE communication_deliveries.channel = channel.channel
        AND communication_deliveries.priority = priority.priority AND status = 'pending'
    ) waiting
    WHERE lease_ends < now() OR due_at <= now()
""")


def find_due_channels(session: Session, priorities: Sequence[int]) -> dict[str, bool]:
    """Returns the channels with due work; the value says whether a worker abandoned some of it."""
    parameters = {"channels": list(PROVIDERS), "priorities": list(priorities)}
    rows = session.execute(DUE_CHANNELS, parameters)
    return {channel: has_abandoned for channel, has_abandoned in rows}


def claim_abandoned(session: Session, channel: str, settings: Settings) -> list[Delivery]:
    """Claims what crashed workers left; what was abandoned twice alone, as it may crash them."""
    dead = mark_exhausted_dead(session, Delivery, settings.delivery_max_attempts, CRASHED_REASON)
    abandoned = lease_expired(Delivery) & (Delivery.channel == channel)
    once, size = abandoned & (Delivery.attempts == 1), settings.delivery_batch_size
    claimed = claim_jobs(session, Delivery, limit=size, lease=settings.lease, only=once)
    if not claimed:
        claimed = claim_jobs(session, Delivery, limit=1, lease=settings.lease, only=abandoned)
    mark_attempts_lost(session, [*dead, *(delivery.id for delivery in claimed)])
    return list(claimed)


def claim_deliveries(
    session: Session, channel: str, priorities: Sequence[int], settings: Settings
) -> list[Delivery]:
    """Claims one batch of due deliveries, the most urgent first."""
    waiting = is_waiting(Delivery) & (Delivery.channel == channel)
    claimed: list[Delivery] = []
    for priority in priorities:
        if limit := settings.delivery_batch_size - len(claimed):
            only = waiting & (Delivery.priority == priority)
            claimed += claim_jobs(session, Delivery, limit=limit, lease=settings.lease, only=only)
    return claimed


def start_attempts(session: Session, claimed: list[Delivery], settings: Settings) -> list[Delivery]:
    """Opens an attempt for each delivery to send now and returns these; finishes the others."""
    load_notifications(session, claimed)
    eligible = find_eligible(session, claimed, settings)
    postponed = postpone_paused(session, eligible, settings)
    started = [delivery for delivery in eligible if delivery.id not in postponed]
    redact_secrets(session, set(claimed).difference(started))
    open_attempts(session, started)
    return started


def load_notifications(session: Session, deliveries: list[Delivery]) -> None:
    """Loads the notifications and endpoints of a batch with one query each."""
    ids = {delivery.notification_id for delivery in deliveries}
    query = select(Notification).where(Notification.id.in_(ids))
    without_siblings = query.options(lazyload(Notification.deliveries))
    found = {row.id: row for row in session.scalars(without_siblings)} if ids else {}
    for delivery in deliveries:
        set_committed_value(delivery, "notification", found[delivery.notification_id])
    load_endpoints(session, deliveries)
