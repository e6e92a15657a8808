"""The Redis client of a service (specification: "Standard Redis Configuration")."""

import redis.asyncio

from .settings import Settings


class RedisClient:
    """Holds one pool per process; keys are `{service}:{resource_type}:{identifier}`."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.short_name
        # This pool waits when all connections are in use; the default pool raises an error.
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            settings.redis_url,
            decode_responses=True,
            max_connections=settings.redis_max_connections,
            timeout=2,
            socket_timeout=2,
            socket_connect_timeout=1,
        )
        self.client = redis.asyncio.Redis.from_pool(pool)

    def key(self, resource_type: str, identifier: str) -> str:
        return f"{self._prefix}:{resource_type}:{identifier}"

    async def set_with_expiry(self, key: str, value: str, expiry_seconds: int = 3600) -> None:
        await self.client.set(key, value, ex=expiry_seconds)

    async def get(self, key: str) -> str | None:
        value = await self.client.get(key)
        return None if value is None else str(value)

    async def delete(self, key: str) -> None:
        await self.client.delete(key)

    async def aclose(self) -> None:
        await self.client.aclose()
