"""Sends a batch of claimed deliveries through the provider of their channel."""

import asyncio
from collections import defaultdict
from functools import partial
from inspect import iscoroutinefunction
from time import monotonic

from chassis.service_client import run_from_thread

from ..models import Delivery
from .attempts import DeliveryResult, record_result
from .channels.protocol import Provider

MAX_CONCURRENT_SENDS = 20  # of a batch whose provider is async
MAX_CONCURRENT_SENDS_PER_RECIPIENT = 5  # all endpoints of a recipient may be slow


def send_batch(provider: Provider, claimed: list[Delivery], seconds: float) -> list[DeliveryResult]:
    """Sends for some seconds; deliveries without a result are left for the next batch."""
    deadline = monotonic() + seconds
    if iscoroutinefunction(provider.send):
        return list(run_from_thread(partial(send_concurrently, provider, claimed, deadline)))
    results: list[DeliveryResult] = []
    for delivery in claimed:
        if results and monotonic() >= deadline:
            break
        with record_result(delivery) as result:
            results.append(result)
            result.receipt = provider.send(delivery)
    return results


async def send_concurrently(
    provider: Provider, claimed: list[Delivery], deadline: float
) -> list[DeliveryResult]:
    """Sends several deliveries at a time, in order; a slow recipient lets others pass."""
    results: list[DeliveryResult] = []
    slots = asyncio.Semaphore(MAX_CONCURRENT_SENDS)
    recipient_slots: defaultdict[str, asyncio.Semaphore] = defaultdict(
        lambda: asyncio.Semaphore(MAX_CONCURRENT_SENDS_PER_RECIPIENT)
    )

    async def send(delivery: Delivery) -> None:
        async with recipient_slots[delivery.notification.recipient_id], slots:
            if results and monotonic() >= deadline:
                return
            with record_result(delivery) as result:
                results.append(result)
                result.receipt = await provider.send(delivery)

    async with asyncio.TaskGroup() as group:
        for delivery in claimed:
            group.create_task(send(delivery))
    return results
