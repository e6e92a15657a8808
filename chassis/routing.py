"""The router that every service uses in place of FastAPI's own."""

from collections.abc import Callable, Coroutine
from typing import Any

import fastapi
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from .auth import get_current_user, requires_token
from .idempotency import replay_or_store

METHODS_WITH_BODY = {"POST", "PUT", "PATCH"}


class Route(APIRoute):
    """Checks the token before the body is read, and replays responses by Idempotency-Key."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        methods = self.methods or set()
        self._checked_methods = (
            methods & METHODS_WITH_BODY if requires_token(self.dependant) else set()
        )

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        # FastAPI reads the body before it calls dependencies, even that of an unknown client.
        if scope["method"] in self._checked_methods:
            await get_current_user(Request(scope))
        await super().handle(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        return replay_or_store(handler) if "POST" in (self.methods or ()) else handler


class APIRouter(fastapi.APIRouter):  # noqa: TID251
    """Makes each of its routes a `Route`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"route_class": Route, **kwargs})
