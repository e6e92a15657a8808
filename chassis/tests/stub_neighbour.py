"""A neighbour service that gives the responses a test wants."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import pytest

from chassis.errors import ServiceError
from chassis.service_client import ServiceClient

Answer = httpx.Response | Exception | Callable[[httpx.Request], Awaitable[httpx.Response]]

WELL = httpx.Response(200, json={"well": True})
KEY = {"Idempotency-Key": "the-key"}


class Neighbour(httpx.AsyncBaseTransport):
    """Gives its responses one after the other, and repeats the last."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [WELL]
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        # A copy: the next attempt sends the same request with new headers.
        seen = httpx.Request(request.method, request.url, content=request.content)
        seen.headers = request.headers.copy()
        self.requests.append(seen)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, httpx.Response):
            return await answer(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def last(self) -> httpx.Headers:
        return self.requests[-1].headers

    def client(self, target: str = "neighbour", **options: Any) -> ServiceClient:
        return ServiceClient(
            "http://neighbour:8002", "toy-service", target=target, transport=self, **options
        )


def after(seconds: float) -> Answer:
    async def answer(request: httpx.Request) -> httpx.Response:
        await anyio.sleep(seconds)
        return httpx.Response(200)

    return answer


def request(client: ServiceClient, *args: Any, **options: Any) -> Any:
    async def make() -> Any:
        return await client.make_request(*args, **options)

    return anyio.run(make)


def failure(client: ServiceClient, *args: Any, **options: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        request(client, *args, **options)
    return caught.value
