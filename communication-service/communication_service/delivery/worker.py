"""A worker's whole work: claim due deliveries, bring them to their recipients, write it down.

Killed at any line, it leaves rows whose lease runs out, for another worker to take. A mail may
then go out twice, with one Message-ID; an inbox item is saved with the delivery's end, so once.
"""

import asyncio
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from inspect import iscoroutinefunction
from threading import Semaphore
from time import monotonic

from sqlalchemy import select, text
from sqlalchemy.orm import Session, lazyload
from sqlalchemy.orm.attributes import set_committed_value

from chassis import job_queue
from chassis.errors import ServiceError
from chassis.job_queue import (
    DEAD,
    PENDING,
    JobResult,
    claim_jobs,
    finish_jobs,
    is_waiting,
    mark_exhausted_dead,
)
from chassis.service_client import ServiceClient, get_requested_delay, run_from_thread
from chassis.untrusted_http import UntrustedHttpClient

from ..database import session_maker
from ..inbox import service as inbox
from ..models import DELIVERED, PRIORITIES, URGENT, Delivery, Notification
from ..redaction import redact_finished
from ..schemas.fields import SECURITY
from ..settings import Settings
from . import circuit_breaker
from .attempts import (
    DeliveryResult,
    close_attempts,
    delete_attempts,
    mark_attempts_lost,
    open_attempts,
    record_result,
)
from .channels import PROVIDERS
from .channels.protocol import BatchContext, Provider, TemporaryFailure, Undeliverable
from .contacts import Contacts
from .eligibility import select_eligible

logger = logging.getLogger(__name__)

MAX_CONCURRENT_SENDS = 20  # deliveries of a batch whose provider can wait for several answers
MAX_CONCURRENT_SENDS_PER_RECIPIENT = (
    5  # of these for one recipient, whose endpoints may all be slow
)
CHANNEL_SLOTS = {
    channel: Semaphore(1 if iscoroutinefunction(provider.send) else 3)
    for channel, provider in PROVIDERS.items()
}
"""Of a process, for a backlog. A provider that waits for several answers at once needs but one."""
URGENT_ONLY = (URGENT,)
Deliver = Callable[[str, Sequence[int], bool], bool]
MAX_IDENTITY_RETRY_SECONDS = 30.0  # seconds between two questions
CRASHED_REASON = "Its worker died or froze, each time"

# By the earliest of an index: for EXISTS, PostgreSQL may read the whole table to find nothing.
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


def deliver_due(
    settings: Settings,
    identity: ServiceClient,
    outbound: UntrustedHttpClient,
    priorities: Sequence[int] = PRIORITIES,
) -> bool:
    """One batch of each channel on which something is due; whether there may be more."""
    asked = {"channels": list(PROVIDERS), "priorities": list(priorities)}
    with session_maker() as session:
        due = {
            channel: is_abandoned for channel, is_abandoned in session.execute(DUE_CHANNELS, asked)
        }
    deliver = partial(deliver_batch, settings, identity, outbound)
    return any([deliver_channel(deliver, c, priorities, due[c]) for c in PROVIDERS if c in due])


def deliver_channel(
    deliver: Deliver, channel: str, priorities: Sequence[int], is_abandoned: bool
) -> bool:
    """What goes wrong with one channel keeps no other from its turn."""
    try:
        return with_channel_slot(deliver, channel, priorities, is_abandoned)
    except Exception:
        logger.exception("a batch by %s has failed; its lease will run out", channel)
        return False


def with_channel_slot(
    deliver: Deliver, channel: str, priorities: Sequence[int], is_abandoned: bool
) -> bool:
    """What is urgent needs no turn; however much dead workers have left, it holds that up not."""
    if priorities == URGENT_ONLY or not CHANNEL_SLOTS[channel].acquire(blocking=False):
        return deliver(channel, URGENT_ONLY, False)
    try:
        return deliver(channel, priorities, is_abandoned)
    finally:
        CHANNEL_SLOTS[channel].release()


def deliver_batch(
    settings: Settings,
    identity: ServiceClient,
    outbound: UntrustedHttpClient,
    channel: str,
    priorities: Sequence[int],
    is_abandoned: bool,
) -> bool:
    with session_maker.begin() as session:
        abandoned = claim_abandoned(session, channel, settings) if is_abandoned else []
        taken = abandoned or claim_deliveries(session, channel, priorities, settings)
        admitted = start_deliveries(session, taken, settings)
    if not taken:
        return False
    people = {delivery.notification.recipient_id for delivery in admitted}
    with ExitStack() as stack:
        batch = BatchContext(settings, Contacts(identity, people), outbound, stack)
        done = send_batch(PROVIDERS[channel](batch), admitted, settings.delivery_batch_seconds)
        # Before anything is closed: a server that takes no farewell must not undo what was sent.
        with session_maker.begin() as session:
            record_results(session, admitted, done, settings)
    is_full = bool(abandoned) or len(taken) == settings.delivery_batch_size
    return is_full or len(done) < len(admitted)


def claim_abandoned(session: Session, channel: str, settings: Settings) -> Sequence[Delivery]:
    """What a worker died with. What was tried before is taken alone: it may be the cause."""
    buried = mark_exhausted_dead(session, Delivery, settings.delivery_max_attempts, CRASHED_REASON)
    ours = job_queue.lease_expired(Delivery) & (Delivery.channel == channel)
    first, lease = ours & (Delivery.attempts == 1), settings.lease
    taken = claim_jobs(
        session, Delivery, limit=settings.delivery_batch_size, lease=lease, only=first
    )
    taken = taken or claim_jobs(session, Delivery, limit=1, lease=lease, only=ours)
    mark_attempts_lost(session, [*buried, *(delivery.id for delivery in taken)])
    return taken


def claim_deliveries(
    session: Session, channel: str, priorities: Sequence[int], settings: Settings
) -> list[Delivery]:
    """Claims what is most urgent."""
    ours, taken = is_waiting(Delivery) & (Delivery.channel == channel), list[Delivery]()
    for priority in priorities:
        if limit := settings.delivery_batch_size - len(taken):
            lane = ours & (Delivery.priority == priority)
            taken += claim_jobs(session, Delivery, limit=limit, lease=settings.lease, only=lane)
    return taken


def start_deliveries(
    session: Session, taken: Sequence[Delivery], settings: Settings
) -> list[Delivery]:
    """Opens an attempt for each that is to be sent now, and returns those."""
    load_notifications(session, taken)
    wanted = select_eligible(session, taken, settings)
    held = circuit_breaker.postpone_paused(session, wanted, settings)
    finish_jobs(session, Delivery, held)
    held_ids = {verdict.row.id for verdict in held}
    admitted = [delivery for delivery in wanted if delivery.id not in held_ids]
    redact_secrets(session, set(taken).difference(admitted))
    open_attempts(session, admitted)
    return admitted


def load_notifications(session: Session, taken: Sequence[Delivery]) -> None:
    """What is to be sent, all at once."""
    ids = {delivery.notification_id for delivery in taken}
    contents = select(Notification).where(Notification.id.in_(ids))
    without_siblings = contents.options(lazyload(Notification.deliveries))
    found = {content.id: content for content in session.scalars(without_siblings)} if ids else {}
    for delivery in taken:
        set_committed_value(delivery, "notification", found[delivery.notification_id])
    circuit_breaker.load_endpoints(session, taken)


def send_batch(
    provider: Provider, admitted: Sequence[Delivery], seconds: float
) -> list[DeliveryResult]:
    """For the time of a turn; what is then left is for the next one."""
    waiting, until = deque(admitted), monotonic() + seconds
    if iscoroutinefunction(provider.send):
        return list(run_from_thread(partial(send_concurrently, provider, waiting, until)))
    done: list[DeliveryResult] = []
    while waiting and (not done or monotonic() < until):
        with record_result(waiting.popleft()) as sent:
            done.append(sent)
            sent.receipt = provider.send(sent.delivery)
    return done


async def send_concurrently(
    provider: Provider, waiting: deque[Delivery], until: float
) -> list[DeliveryResult]:
    done: list[DeliveryResult] = []
    at_work = Counter[str]()

    async def send_one_by_one() -> None:
        while (not done or monotonic() < until) and (delivery := next_of(waiting, at_work)):
            person = delivery.notification.recipient_id
            at_work[person] += 1
            with record_result(delivery) as sent:
                done.append(sent)
                sent.receipt = await provider.send(delivery)
            at_work[person] -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(MAX_CONCURRENT_SENDS):
            group.create_task(send_one_by_one())
    return done


def next_of(waiting: deque[Delivery], at_work: Counter[str]) -> Delivery | None:
    """The first for somebody who has places left. If nobody has, who is at work does the rest."""
    for delivery in waiting:
        if at_work[delivery.notification.recipient_id] < MAX_CONCURRENT_SENDS_PER_RECIPIENT:
            waiting.remove(delivery)
            return delivery
    return None


def record_results(
    session: Session,
    admitted: Sequence[Delivery],
    done: Sequence[DeliveryResult],
    settings: Settings,
) -> None:
    """Ends the claims and the attempts; where a lease was lost, another worker's word counts."""
    begun = {sent.delivery.id for sent in done}
    untried = [delivery for delivery in admitted if delivery.id not in begun]
    verdicts = [build_job_result(sent, settings) for sent in done]
    verdicts += [requeue_untried(delivery, settings) for delivery in untried]
    ours = finish_jobs(session, Delivery, verdicts)
    receipts = [sent.receipt for sent in done if sent.receipt and sent.delivery.id in ours]
    close_attempts(session, done, ours)
    circuit_breaker.record_endpoint_health(session, done, settings)
    delete_attempts(session, untried)
    redact_secrets(session, [sent.delivery for sent in done])
    inbox.add_items(session, [receipt.inbox_item for receipt in receipts if receipt.inbox_item])


def requeue_untried(delivery: Delivery, settings: Settings) -> JobResult:
    """Due at once; but what waited for a slow endpoint lets others pass in the next turns."""
    pause = random.uniform(1, 3) * settings.delivery_batch_seconds if delivery.endpoint_id else None
    return JobResult(delivery, PENDING, counts=False, delay=pause)


def redact_secrets(session: Session, deliveries: Iterable[Delivery]) -> None:
    notifications = [delivery.notification for delivery in deliveries]
    redact_finished(session, {said.id for said in notifications if said.category == SECURITY})


def build_job_result(sent: DeliveryResult, settings: Settings) -> JobResult:
    delivery, error = sent.delivery, sent.error
    if error is None:
        return JobResult(delivery, DELIVERED)
    if isinstance(error, ServiceError):
        return postpone_without_identity(sent, error, settings)
    is_old = delivery.get_age_seconds(settings.lease) > settings.delivery_max_age_seconds
    is_tried_enough = delivery.attempts >= settings.delivery_max_attempts
    if isinstance(error, Undeliverable) or is_old or is_tried_enough:
        return JobResult(delivery, DEAD, sent.reason)
    pause = settings.retry_policy.get_delay(delivery.attempts)
    after = error.after if isinstance(error, TemporaryFailure) else 0
    return JobResult(delivery, PENDING, sent.reason, delay=max(pause, after))


def postpone_without_identity(
    sent: DeliveryResult, error: ServiceError, settings: Settings
) -> JobResult:
    """Nobody knows where it is to go: that is no attempt, however often or long it is so.

    Providers let no ServiceError through but identity's. Attempts do not grow by it, so that the
    pause grows with the age of the delivery.
    """
    age = sent.delivery.get_age_seconds(settings.lease)
    longest = min(MAX_IDENTITY_RETRY_SECONDS, max(settings.delivery_first_delay_seconds, age))
    pause = max(random.uniform(longest / 2, longest), get_requested_delay(error))
    return JobResult(sent.delivery, PENDING, sent.reason, delay=pause, counts=False)
