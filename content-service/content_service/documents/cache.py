"""The read cache: a document's JSON in Redis, under `content:cache:document_<id>`.

It never decides anything. Each read first asks the database, in one small query, whether the
caller may see the document and which state is the newest; what is kept here is used only when it
is of that very state. So it may be late, lost, outdated or left over, and does no harm.
"""

import asyncio
import logging
from datetime import datetime
from typing import Protocol
from uuid import UUID

from redis.exceptions import RedisError

from chassis.redis_client import RedisClient

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_SECONDS = 0.2  # seconds: a Redis slower than this is no cache


class DocumentState(Protocol):
    """A document or a row with its version and time. A version restored from a backup and
    changed again has the same number, but another time."""

    version: int
    updated_at: datetime


class CachedDocument:
    """What Redis has for one document, which may be nothing."""

    def __init__(self, redis: RedisClient, document_id: UUID) -> None:
        self._redis = redis
        self._key = redis.key("cache", f"document_{document_id}")

    async def find_json(self, state: DocumentState) -> str | None:
        """Ask for it only when the caller may see the document: the time it takes tells of it."""
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                entry = await self._redis.get(self._key)
        except (RedisError, TimeoutError) as error:
            logger.debug("read without cache: %r", error)
            return None
        kept, _, json = (entry or "").partition("\n")
        return json if kept == format_state(state) else None

    async def store_json(self, state: DocumentState, json: str) -> None:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                await self._redis.set_with_expiry(self._key, f"{format_state(state)}\n{json}")
        except (RedisError, TimeoutError) as error:
            logger.debug("not cached: %r", error)


def format_state(state: DocumentState) -> str:
    return f"{state.version} {state.updated_at.isoformat()}"
