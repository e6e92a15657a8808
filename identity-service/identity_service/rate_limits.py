"""Limits how often passwords, codes and secrets can be guessed; each wait is longer than the last.

All processes count in Redis; while it does not answer, each process counts in its own memory.
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

# Attempts count towards a longer window only while the shorter ones are open, so waits grow.
ATTEMPT_LIMITS = parse_many("5/minute;10/10 minutes;50/day")
# For a whole network, over all accounts: many users may share one.
NETWORK_LIMIT = parse("300/10 minutes")
AUDIT_LIMIT = parse("1/10 minutes")
REDIS_TIMEOUT_SECONDS = 0.5


class TooManyAttempts(CommitOnError, TooManyRequests):
    """Raised after too many failures, for a right password too; Retry-After says how long."""

    def __init__(self, wait: float, reason: str = "Too many failed attempts") -> None:
        seconds = max(1, round(wait))
        message = f"{reason}; try again in {seconds} second{'s' if seconds > 1 else ''}"
        super().__init__(message, headers={"Retry-After": str(seconds)})


class RateLimiter:
    """Counts attempts by keys such as ("second factor", user id)."""

    def __init__(self, redis: RedisClient) -> None:
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            connection_pool=redis.client.connection_pool,  # type: ignore[arg-type]
            key_prefix=redis.key("attempts", "limit"),
        )
        self._redis_limiter = FixedWindowRateLimiter(storage)
        self._memory_limiter = FixedWindowRateLimiter(MemoryStorage())

    async def count_attempt(self, *keys: str) -> float:
        """Counts an attempt before it is made. Returns the seconds to wait, 0 if allowed."""
        for limit in ATTEMPT_LIMITS:
            if not await self._call_limiter("hit", limit, *keys):
                return await self._get_wait(limit, *keys)
        return 0

    async def reset_attempts(self, *keys: str) -> None:
        for limit in ATTEMPT_LIMITS:
            await self._call_limiter("clear", limit, *keys)

    async def count_for_network(self, *keys: str) -> float:
        """Counts against the limit of a network. Returns the seconds to wait, 0 if allowed."""
        is_allowed = await self._call_limiter("hit", NETWORK_LIMIT, *keys)
        return 0 if is_allowed else await self._get_wait(NETWORK_LIMIT, *keys)

    async def should_audit_block(self, network: str) -> bool:
        """True once per blocked network and period, so that guesses cannot fill the audit trail."""
        return bool(await self._call_limiter("hit", AUDIT_LIMIT, network))

    async def get_network_wait(self, network: str) -> float:
        """Returns the seconds a network with too many failures has to wait, without counting."""
        is_allowed = await self._call_limiter("test", NETWORK_LIMIT, network)
        return 0 if is_allowed else await self._get_wait(NETWORK_LIMIT, network)

    async def _get_wait(self, limit: RateLimitItem, *keys: str) -> float:
        stats = await self._call_limiter("get_window_stats", limit, *keys)
        return max(1.0, float(stats.reset_time) - time())

    async def _call_limiter(self, method: str, limit: RateLimitItem, *keys: str) -> Any:
        hashed_keys = [compute_digest(key).hex()[:32] for key in keys]  # no addresses in Redis
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                return await getattr(self._redis_limiter, method)(limit, *hashed_keys)
        except (RedisError, OSError, TimeoutError) as error:
            logger.warning("Redis does not answer; counting attempts in memory: %r", error)
            return await getattr(self._memory_limiter, method)(limit, *hashed_keys)


def get_network(ip: str | None) -> str:
    """Returns the network that shares a limit: an IPv6 customer has a whole /64 of addresses."""
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
