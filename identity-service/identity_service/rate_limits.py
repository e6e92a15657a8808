"""How often somebody may guess: each round costs a longer wait than the last, and each wait ends.

Counted in Redis for all processes together; when Redis does not answer, each process counts for
itself, so that people can still log in, and guessing is still no use.
"""

import asyncio
import ipaddress
import logging
from time import time
from typing import Annotated, Any

from fastapi import Depends, Request
from limits import RateLimitItem, parse, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from chassis.errors import TooManyRequests
from chassis.redis_client import RedisClient

from .crypto.tokens import compute_digest
from .database import CommitOnError

logger = logging.getLogger(__name__)

# A window is counted into only while the ones before it are open, so waits grow step by step.
ATTEMPT_LIMITS = parse_many("5/minute;10/10 minutes;50/day")
# Of a whole network, over all accounts: many people may share one.
NETWORK_LIMIT = parse("300/10 minutes")
AUDIT_LIMIT = parse("1/10 minutes")
REDIS_TIMEOUT_SECONDS = 0.5  # seconds Redis may take


class TooManyAttempts(CommitOnError, TooManyRequests):
    """Says no more than a wrong guess does, and when to come back."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message, headers={"Retry-After": str(max(1, round(seconds)))})


class RateLimiter:
    def __init__(self, redis: RedisClient) -> None:
        shared = RedisStorage(
            "async+redis://",
            implementation="redispy",
            connection_pool=redis.client.connection_pool,  # type: ignore[arg-type]
            key_prefix=redis.key("attempts", "limit"),
        )
        self._redis_limiter = FixedWindowRateLimiter(shared)
        self._memory_limiter = FixedWindowRateLimiter(MemoryStorage())

    async def count_attempt(self, *who: str) -> float:
        """Counts an attempt before it is made; the seconds to wait if there were too many."""
        for limit in ATTEMPT_LIMITS:
            if not await self._call_limiter("hit", limit, *who):
                return await self._get_wait(limit, *who)
        return 0

    async def reset_attempts(self, *who: str) -> None:
        for limit in ATTEMPT_LIMITS:
            await self._call_limiter("clear", limit, *who)

    async def count_for_network(self, *network: str) -> float:
        """Counts what a network may not do for ever; the seconds to wait if it was too often."""
        is_open = await self._call_limiter("hit", NETWORK_LIMIT, *network)
        return 0 if is_open else await self._get_wait(NETWORK_LIMIT, *network)

    async def should_audit_block(self, network: str) -> bool:
        """Once in a while, that a network has to wait: the trail does not grow with each guess."""
        return bool(await self._call_limiter("hit", AUDIT_LIMIT, network))

    async def get_network_wait(self, network: str) -> float:
        """The seconds that a network with too many failures has to wait."""
        is_open = await self._call_limiter("test", NETWORK_LIMIT, network)
        return 0 if is_open else await self._get_wait(NETWORK_LIMIT, network)

    async def _get_wait(self, limit: RateLimitItem, *who: str) -> float:
        stats = await self._call_limiter("get_window_stats", limit, *who)
        return max(1.0, float(stats.reset_time) - time())

    async def _call_limiter(self, question: str, limit: RateLimitItem, *who: str) -> Any:
        hidden = [compute_digest(part).hex()[:32] for part in who]  # no addresses in Redis
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                return await getattr(self._redis_limiter, question)(limit, *hidden)
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("attempts are counted by this process alone: %r", error)
            return await getattr(self._memory_limiter, question)(limit, *hidden)


def get_network(ip: str | None) -> str:
    """An IPv6 customer has a whole /64 of addresses."""
    try:
        address = ipaddress.ip_address(ip or "")
    except ValueError:
        return ip or "unknown"
    length = 64 if address.version == 6 else 32
    return str(ipaddress.ip_network((address, length), strict=False))


def get_rate_limiter(request: Request) -> RateLimiter:
    limiter: RateLimiter = request.app.state.rate_limiter
    return limiter


Limiter = Annotated[RateLimiter, Depends(get_rate_limiter)]
