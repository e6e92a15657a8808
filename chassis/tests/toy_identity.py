"""The toy service with an identity service that a test controls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
from fastapi import FastAPI

from chassis.app import create_app
from chassis.auth import CurrentUser, User, require_permission
from tools.localdev.fake_identity import FakeIdentity, Person

from .toy import toy_settings

Author = Annotated[User, require_permission("documents:write")]


@dataclass
class Identity(FakeIdentity):
    """Records its requests, and can be slow or send unexpected responses."""

    paths: list[str] = field(default_factory=list)
    headers: list[httpx.Headers] = field(default_factory=list)
    slow: float = 0  # delay in seconds of /auth/validate
    odd: dict[str, httpx.Response] = field(default_factory=dict)  # by path
    deaf: bool = False  # only the feed does not answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1")
        self.paths.append(path)
        self.headers.append(request.headers)
        if path in self.odd or (self.deaf and path == "/auth/changes"):
            await asyncio.sleep(0.01)
            found = self.odd.get(path, httpx.Response(503))
            return httpx.Response(found.status_code, headers=found.headers, content=found.content)
        response = await super().handle_async_request(request)
        if path == "/auth/validate":
            await asyncio.sleep(self.slow)
        return response

    def count_requests(self, path: str) -> int:
        return self.paths.count(path)


def toy(identity: Identity, **changes: Any) -> FastAPI:
    app = create_app(toy_settings(**changes))
    app.state.transport = identity

    @app.get("/me")
    async def me(user: CurrentUser) -> dict[str, Any]:
        return {"user_id": user.user_id, "actor": user.actor, "service": user.is_service}

    @app.post("/documents")
    def write(author: Author) -> str:
        return author.user_id

    @app.put("/documents")
    def replace(user: CurrentUser, author: Author, pages: dict[str, int]) -> int:
        return len(pages)

    return app


@asynccontextmanager
async def running(
    identity: Identity, max_cached_users: int | None = None, **changes: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Run the toy service, once it has polled the change feed (if it can)."""
    app = toy(identity, **changes)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://toy") as client,
    ):
        if max_cached_users:
            app.state.authenticate.max_cached_users = max_cached_users
        if not (identity.is_down or identity.deaf):
            await until(lambda: identity.count_requests("/auth/changes") >= 2)
        yield client


async def until(holds: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


async def me(client: httpx.AsyncClient, person: Person) -> int:
    return (await client.get("/me", headers=person.headers)).status_code


async def until_seen(identity: Identity, answers: int = 1) -> None:
    """Wait until so many more responses of the feed are processed."""
    polls = identity.count_requests("/auth/changes")
    await until(lambda: identity.count_requests("/auth/changes") >= polls + answers)
