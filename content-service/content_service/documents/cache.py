"""The read cache: a document's JSON in Redis, under `content:cache:document_<id>`.

It decides nothing. Each read first asks the database, in one small query, whether the caller may
see the document and which state is current; the cached JSON is used only if it is of that state.
So an entry that is late, lost or outdated does no harm.
"""

import asyncio
import logging
from datetime import datetime
from typing import Protocol
from uuid import UUID

from redis.exceptions import RedisError

from chassis.redis_client import RedisClient

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_SECONDS = 0.2  # a slower Redis is no help


class DocumentState(Protocol):
    """Identifies a state; the version alone does not: restoring a backup reuses its number."""

    version: int
    updated_at: datetime


class CachedDocument:
    """Reads and writes the entry of one document, which may not exist."""

    def __init__(self, redis: RedisClient, document_id: UUID) -> None:
        self._redis = redis
        self._key = redis.key("cache", f"document_{document_id}")

    async def find_json(self, state: DocumentState) -> str | None:
        """Return the cached JSON of this state.

        Call it only for a caller who may see the document: its time reveals whether it is cached.
        """
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                entry = await self._redis.get(self._key)
        except (RedisError, TimeoutError) as error:
            logger.debug("Reading without the cache: %r", error)
            return None
        cached_state, _, json = (entry or "").partition("\n")
        return json if cached_state == format_state(state) else None

    async def store_json(self, state: DocumentState, json: str) -> None:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                await self._redis.set_with_expiry(self._key, f"{format_state(state)}\n{json}")
        except (RedisError, TimeoutError) as error:
            logger.debug("Not cached: %r", error)


def format_state(state: DocumentState) -> str:
    return f"{state.version} {state.updated_at.isoformat()}"
