"""The Redis client against a real Redis, and against none."""

import socket
from collections.abc import Awaitable, Callable
from time import monotonic

import anyio
import pytest
import redis.exceptions

from chassis.redis_client import RedisClient
from tools.localdev.test_servers import TemporaryServers

from .toy import toy_settings


def using(url: str, work: Callable[[RedisClient], Awaitable[None]]) -> None:
    async def run() -> None:
        client = RedisClient(toy_settings(redis_url=url))
        try:
            await work(client)
        finally:
            await client.aclose()

    anyio.run(run)


def test_a_key_names_service_resource_type_and_identifier(servers: TemporaryServers) -> None:
    async def work(client: RedisClient) -> None:
        assert client.key("cache", "document_1") == "toy:cache:document_1"

    using(servers.redis.get_url(), work)


def test_a_value_is_kept_until_it_is_deleted(servers: TemporaryServers) -> None:
    async def work(client: RedisClient) -> None:
        key = client.key("cache", "kept")

        await client.set_with_expiry(key, "Grüße")
        assert await client.get(key) == "Grüße"
        assert 3500 < await client.client.ttl(key) <= 3600

        await client.delete(key)
        assert await client.get(key) is None

    using(servers.redis.get_url(), work)


def test_a_value_expires(servers: TemporaryServers) -> None:
    async def work(client: RedisClient) -> None:
        await client.set_with_expiry("toy:cache:short", "x", 1)
        await anyio.sleep(1.1)

        assert await client.get("toy:cache:short") is None

    using(servers.redis.get_url(), work)


def test_without_a_redis_it_fails_at_once() -> None:
    async def work(client: RedisClient) -> None:
        started = monotonic()
        with pytest.raises(redis.exceptions.ConnectionError):
            await client.get("toy:cache:any")
        assert monotonic() - started < 0.5

    using("redis://127.0.0.1:1/0", work)


def test_a_redis_that_does_not_answer_fails_in_time() -> None:
    async def work(client: RedisClient) -> None:
        started = monotonic()
        with pytest.raises(redis.exceptions.TimeoutError):
            await client.get("toy:cache:any")
        assert monotonic() - started < 3

    with socket.create_server(("127.0.0.1", 0)) as silent:
        using(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", work)


def test_more_callers_than_connections_wait_for_one(servers: TemporaryServers) -> None:
    async def work(client: RedisClient) -> None:
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(client.set_with_expiry, f"toy:cache:{number}", "x", 10)

    using(servers.redis.get_url(), work)
