"""The worker's whole work: claim due deliveries, bring them to their recipients, write it down.

Killed at any line, it leaves rows whose lease runs out, for another worker to take. A mail may
then go out twice, with one Message-ID; an inbox item is saved with the delivery's end, so once.
"""

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from sqlalchemy import update
from sqlalchemy.orm import Session

from chassis.claims import DEAD, claim, finish, renew, retry
from chassis.errors import ServiceError, Unavailable
from chassis.service_client import ServiceClient
from chassis.tracing import traced

from . import inbox
from .channels import PROVIDERS
from .channels.provider import Provider, Undeliverable
from .database import session_maker
from .models import DELIVERED, Attempt, Delivery, InboxItem, now
from .settings import Settings

logger = logging.getLogger(__name__)

EXPECTED = (Undeliverable, ServiceError, OSError)  # smtplib's errors are OSErrors
LONGEST_ERROR = 500  # characters


@dataclass(frozen=True)
class Sent:
    """How one delivery went. `item` is saved with its end."""

    delivery: Delivery
    started_at: datetime
    finished_at: datetime = field(default_factory=now, init=False)
    item: InboxItem | None = None
    error: Exception | None = None

    @property
    def outcome(self) -> str:
        if self.error is None:
            return DELIVERED
        return "rejected" if isinstance(self.error, Undeliverable) else "failed"

    @property
    def reason(self) -> str | None:
        """What the sender may know of the error, in a form that PostgreSQL can store."""
        if self.error is None:
            return None
        if not isinstance(self.error, EXPECTED):
            return "Something unexpected went wrong; the trace id leads to the log"
        said = str(self.error) or type(self.error).__name__
        storable = said.replace("\x00", "").encode(errors="replace").decode()
        return storable[:LONGEST_ERROR]


def deliver_batch(channel: str, settings: Settings, identity: ServiceClient) -> int:
    """Delivers up to a batch of what is due on a channel; how many that were."""
    with session_maker.begin() as session:
        batch = take(session, channel, settings)
    with ExitStack() as open_until_done:
        provider = PROVIDERS[channel](settings, identity, open_until_done)
        work_off(deque(batch), provider, settings)
    return len(batch)


def take(session: Session, channel: str, settings: Settings) -> Sequence[Delivery]:
    """Claims deliveries and opens an attempt for each."""
    limit, lease, ours = settings.delivery_batch, settings.lease, Delivery.channel == channel
    batch = claim(session, Delivery, limit=limit, lease=lease, only=ours)
    for delivery in batch:
        trace_id = delivery.notification.trace_id
        session.add(Attempt(delivery_id=delivery.id, number=delivery.fence, trace_id=trace_id))
    return batch


def work_off(waiting: deque[Delivery], provider: Provider, settings: Settings) -> None:
    """Writes down how it went every third of a lease, and then renews the lease of the rest."""
    while waiting:
        done: list[Sent] = []
        pause_at = monotonic() + settings.delivery_lease_seconds / 3
        while waiting and monotonic() < pause_at:
            done.append(send(waiting.popleft(), provider))
        with session_maker.begin() as session:
            for sent in done:
                record(session, sent, settings)
            waiting = deque(row for row in waiting if renew(session, row, settings.lease))


def send(delivery: Delivery, provider: Provider) -> Sent:
    """Never raises: a delivery that fails must not hold up the others."""
    started_at = now()
    with traced(delivery.notification.trace_id):
        try:
            sent = Sent(delivery, started_at, item=provider.send(delivery))
            logger.info("delivery %s by %s is made", delivery.id, delivery.channel)
        except Exception as error:
            sent = Sent(delivery, started_at, error=error)
            trace = not isinstance(error, EXPECTED)
            logger.warning("delivery %s: %s", delivery.id, sent.reason, exc_info=trace)
    return sent


def record(session: Session, sent: Sent, settings: Settings) -> None:
    """Ends the claim and the attempt; where the lease was lost, another worker's word counts."""
    is_ours = end_claim(session, sent, settings)
    if is_ours and sent.item is not None:
        inbox.add(session, [sent.item])
    outcome = sent.outcome if is_ours else "superseded"
    times = {"started_at": sent.started_at, "finished_at": sent.finished_at}
    session.execute(
        update(Attempt)
        .where(Attempt.delivery_id == sent.delivery.id, Attempt.number == sent.delivery.fence)
        .values(outcome=outcome, error=sent.reason, **times)
    )


def end_claim(session: Session, sent: Sent, settings: Settings) -> bool:
    if sent.error is None:
        return finish(session, sent.delivery, DELIVERED)
    if isinstance(sent.error, Undeliverable):
        return finish(session, sent.delivery, DEAD, last_error=sent.reason)
    after = sent.error.retry_after if isinstance(sent.error, Unavailable) else 0
    return retry(session, sent.delivery, sent.reason or "", settings.retry_policy, after)
