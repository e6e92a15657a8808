"""The delivery worker: claims due deliveries, sends them and records the results.

It can be killed at any line: its leases expire, and another worker takes the deliveries over. A
mail may then be sent twice, with the same Message-ID. An inbox item is saved in the transaction
that finishes its delivery, so it appears exactly once.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from inspect import iscoroutinefunction
from threading import Semaphore

from sqlalchemy.orm import Session

from chassis.service_client import ServiceClient
from chassis.untrusted_http import UntrustedHttpClient

from ..database import session_maker
from ..inbox.service import add_items
from ..models import PRIORITIES, URGENT, Delivery
from ..redaction import redact_secrets
from ..settings import Settings
from .attempts import DeliveryResult, close_attempts, delete_attempts
from .channels import PROVIDERS
from .channels.protocol import BatchContext
from .circuit_breaker import record_health
from .claims import claim_abandoned, claim_deliveries, find_due_channels, start_attempts
from .contacts import Contacts
from .queue import finish_jobs
from .retries import build_job_result, requeue_untried
from .sending import send_batch

logger = logging.getLogger(__name__)

URGENT_ONLY = (URGENT,)
# How many threads of a process may work on a channel's backlog. An async provider needs only one
# thread, since that sends several deliveries at the same time.
CHANNEL_SLOTS = {
    channel: Semaphore(1 if iscoroutinefunction(provider.send) else 3)
    for channel, provider in PROVIDERS.items()
}


@dataclass(frozen=True)
class DeliveryWorker:
    """Delivers in batches, with the clients of one process."""

    settings: Settings
    identity: ServiceClient
    http_client: UntrustedHttpClient

    def deliver_due(self, priorities: Sequence[int] = PRIORITIES) -> bool:
        """Delivers one batch on each channel that has due work; returns whether there is more."""
        with session_maker() as session:
            due = find_due_channels(session, priorities)
        has_more = False
        for channel in PROVIDERS:
            if channel in due and self.deliver_channel(channel, priorities, due[channel]):
                has_more = True
        return has_more

    def deliver_channel(self, channel: str, priorities: Sequence[int], has_abandoned: bool) -> bool:
        """Delivers one batch; an error on one channel does not stop the others."""
        try:
            return self.deliver_in_slot(channel, priorities, has_abandoned)
        except Exception:
            logger.exception("A batch on channel %s failed; its leases will expire", channel)
            return False

    def deliver_in_slot(self, channel: str, priorities: Sequence[int], has_abandoned: bool) -> bool:
        """Takes a slot of the channel; urgent deliveries need none, so no backlog delays them."""
        slots = CHANNEL_SLOTS[channel]
        if priorities == URGENT_ONLY or not slots.acquire(blocking=False):
            return self.deliver_batch(channel, URGENT_ONLY, has_abandoned=False)
        try:
            return self.deliver_batch(channel, priorities, has_abandoned)
        finally:
            slots.release()

    def deliver_batch(self, channel: str, priorities: Sequence[int], has_abandoned: bool) -> bool:
        """Claims, sends and records one batch; returns whether there may be more."""
        settings = self.settings
        with session_maker.begin() as session:
            abandoned = claim_abandoned(session, channel, settings) if has_abandoned else []
            claimed = abandoned or claim_deliveries(session, channel, priorities, settings)
            started = start_attempts(session, claimed, settings)
        if not claimed:
            return False
        recipient_ids = {delivery.notification.recipient_id for delivery in started}
        with ExitStack() as exit_stack:
            contacts = Contacts(self.identity, recipient_ids)
            context = BatchContext(settings, contacts, self.http_client, exit_stack)
            provider = PROVIDERS[channel](context)
            results = send_batch(provider, started, settings.delivery_batch_seconds)
            # Recorded before connections are closed: a failing QUIT must not undo the deliveries.
            with session_maker.begin() as session:
                record_results(session, started, results, settings)
        is_full = bool(abandoned) or len(claimed) == settings.delivery_batch_size
        return is_full or len(results) < len(started)


def record_results(
    session: Session,
    started: list[Delivery],
    results: list[DeliveryResult],
    settings: Settings,
) -> None:
    """Finishes claims and attempts, except where another worker has taken over the lease."""
    tried = {result.delivery.id for result in results}
    untried = [delivery for delivery in started if delivery.id not in tried]
    job_results = [build_job_result(result, settings) for result in results]
    job_results += [requeue_untried(delivery, settings) for delivery in untried]
    finished_ids = finish_jobs(session, job_results)
    close_attempts(session, results, finished_ids)
    record_health(session, results, settings)
    delete_attempts(session, untried)
    redact_secrets(session, [result.delivery for result in results])
    finished = [result for result in results if result.delivery.id in finished_ids]
    receipts = [result.receipt for result in finished if result.receipt]
    add_items(session, [receipt.inbox_item for receipt in receipts if receipt.inbox_item])
